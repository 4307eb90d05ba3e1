// What the parts of the face towards JavaScript share.
#pragma once
#include <napi.h>

#include <new>
#include <string>
#include <system_error>

namespace duobit {

template <class T>
inline T& unbox(const Napi::CallbackInfo& info, size_t index = 0) {
  return *info[index].As<Napi::External<T>>().Data();
}
inline int integerAt(const Napi::CallbackInfo& info, size_t index) { return info[index].As<Napi::Number>().Int32Value(); }

/** Turns what C++ throws into a JavaScript error with a `code`. */
template <Napi::Value (*F)(const Napi::CallbackInfo&)>
Napi::Value guard(const Napi::CallbackInfo& info) {
  const auto fail = [&](const char* code, const std::string& message) {
    Napi::Error error = Napi::Error::New(info.Env(), message);
    error.Set("code", Napi::String::New(info.Env(), code));
    return error;
  };
  try {
    return F(info);
  } catch (const std::bad_alloc&) {
    throw fail("OUT_OF_MEMORY", "out of memory");
  } catch (const std::system_error& error) {
    throw fail("THREADS", error.what());
  }
}

/** addon-training.cpp: the object `training`. */
void defineTraining(Napi::Env env, Napi::Object exports);

}  // namespace duobit
