// The face towards JavaScript, Node-API through node-addon-api. Plans, sizes and planes are checked in src/native/*.ts; what
// remains to fail here is memory and threads.
#include "addon.h"
#include "cpu.h"
#include "program.h"

namespace duobit {

/** Goes up with any change of what crosses this border; src/native/addon.ts refuses any other. */
constexpr int INTERFACE = 7;

struct ProgramBox {
  std::unique_ptr<Program> program;
};
struct PoolBox {
  std::shared_ptr<Pool> pool;
};

static Program& programOf(const Napi::CallbackInfo& info) { return *unbox<ProgramBox>(info).program; }
/** A Uint8Array's bytes; null for undefined. */
static const uint8_t* bytesAt(const Napi::CallbackInfo& info, size_t index) {
  return info[index].IsUndefined() ? nullptr : info[index].As<Napi::Uint8Array>().Data();
}

static Napi::Value instructionSets(const Napi::CallbackInfo& info) {
  Napi::Array names = Napi::Array::New(info.Env());
  uint32_t count = 0;
  for (const std::string& name : knownInstructionSets())
    if (findKernels(name)) names.Set(count++, name);
  return names;
}

static Napi::Value createPool(const Napi::CallbackInfo& info) {
  auto box = std::make_unique<PoolBox>();
  box->pool = std::make_shared<Pool>(integerAt(info, 0));
  return Napi::External<PoolBox>::New(info.Env(), box.release(), [](Napi::Env, PoolBox* held) { delete held; });
}

static Napi::Value disposePool(const Napi::CallbackInfo& info) {
  unbox<PoolBox>(info).pool.reset();
  return info.Env().Undefined();
}

static Napi::Value createProgram(const Napi::CallbackInfo& info) {
  const Kernels* kernels = findKernels(info[1].As<Napi::String>().Utf8Value());
  if (!kernels) throw Napi::Error::New(info.Env(), "no such instruction set here");
  auto box = std::make_unique<ProgramBox>();
  box->program = std::make_unique<Program>(unbox<PoolBox>(info).pool, *kernels);
  return Napi::External<ProgramBox>::New(info.Env(), box.release(), [](Napi::Env, ProgramBox* held) { delete held; });
}

static Napi::Value disposeProgram(const Napi::CallbackInfo& info) {
  unbox<ProgramBox>(info).program.reset();
  return info.Env().Undefined();
}

static Napi::Value addVector(const Napi::CallbackInfo& info) {
  Program& program = programOf(info);
  return Napi::Number::New(info.Env(), program.addWeight(packVector(program.packer(), bytesAt(info, 1), static_cast<DenseKind>(integerAt(info, 2)),
                                                                    integerAt(info, 3))));
}

static Napi::Value addDense(const Napi::CallbackInfo& info) {
  Program& program = programOf(info);
  return Napi::Number::New(info.Env(),
                           program.addWeight(packDense(program.packer(), bytesAt(info, 1),
                                                       static_cast<DenseKind>(integerAt(info, 2)), integerAt(info, 3),
                                                       integerAt(info, 4))));
}

static Napi::Value addInteger(const Napi::CallbackInfo& info) {
  Program& program = programOf(info);
  return Napi::Number::New(info.Env(), program.addWeight(packInteger(program.packer(), bytesAt(info, 1), bytesAt(info, 2),
                                                                     info[3].As<Napi::Boolean>().Value(),
                                                                     integerAt(info, 4), integerAt(info, 5),
                                                                     integerAt(info, 6))));
}

static Napi::Value addW11(const Napi::CallbackInfo& info) {
  Program& program = programOf(info);
  return Napi::Number::New(info.Env(), program.addWeight(packW11(program.packer(), bytesAt(info, 1), bytesAt(info, 2),
                                                                 bytesAt(info, 3), bytesAt(info, 4),
                                                                 integerAt(info, 5), integerAt(info, 6),
                                                                 integerAt(info, 7))));
}

/** (program, slots [kind, width]…, operations [op, 4 slots, weight, 5 numbers]…, frequencies, geometry of 7, columns) */
static Napi::Value build(const Napi::CallbackInfo& info) {
  const auto slots = info[1].As<Napi::Float64Array>(), code = info[2].As<Napi::Float64Array>();
  const auto frequencies = info[3].As<Napi::Float64Array>(), sizes = info[4].As<Napi::Float64Array>();
  std::vector<SlotSpec> specs;
  for (size_t i = 0; i < slots.ElementLength(); i += 2)
    specs.push_back({static_cast<SlotKind>(static_cast<int>(slots[i])), static_cast<int>(slots[i + 1])});
  std::vector<Operation> operations;
  for (size_t i = 0; i < code.ElementLength(); i += 11) {
    Operation o{};
    o.op = static_cast<Op>(static_cast<int>(code[i]));
    for (int j = 0; j < 4; ++j) o.slots[j] = static_cast<int>(code[i + 1 + j]);
    o.weight = static_cast<int>(code[i + 5]);
    for (int j = 0; j < 5; ++j) o.numbers[j] = code[i + 6 + j];
    operations.push_back(o);
  }
  const auto columns = info[5].As<Napi::Int32Array>();
  const auto size = [&](int i) { return static_cast<int>(sizes[i]); };
  programOf(info).build(specs, operations,
                        std::vector<double>(frequencies.Data(), frequencies.Data() + frequencies.ElementLength()),
                        {size(0), size(1), size(2), size(3), size(4), static_cast<CacheKind>(size(5)), size(6)},
                        std::vector<int32_t>(columns.Data(), columns.Data() + columns.ElementLength()));
  return info.Env().Undefined();
}

static Napi::Value write(const Napi::CallbackInfo& info) {
  const auto values = info[2].As<Napi::TypedArray>();
  if (values.TypedArrayType() == napi_int32_array)
    programOf(info).writeTokens(integerAt(info, 1), values.As<Napi::Int32Array>().Data(), values.ElementLength());
  else programOf(info).writeFloats(integerAt(info, 1), values.As<Napi::Float32Array>().Data(), values.ElementLength());
  return info.Env().Undefined();
}

/** (program, parts [sequence, position, rows, rows of logits]…) */
static Napi::Value run(const Napi::CallbackInfo& info) {
  const auto numbers = info[1].As<Napi::Int32Array>();
  const int32_t* const from = numbers.Data();
  std::vector<RunPart> parts;
  for (size_t i = 0; i < numbers.ElementLength(); i += 4) parts.push_back({from[i], from[i + 1], from[i + 2], from[i + 3]});
  programOf(info).run(parts);
  return info.Env().Undefined();
}

static Napi::Value read(const Napi::CallbackInfo& info) {
  const Program& program = programOf(info);
  const int slot = integerAt(info, 1), rows = integerAt(info, 2);
  auto out = Napi::Float32Array::New(info.Env(), program.readSize(slot, rows));
  program.read(slot, rows, out.Data());
  return out;
}

static Napi::Value readBest(const Napi::CallbackInfo& info) {
  const auto [index, value] = programOf(info).readBest(integerAt(info, 1), integerAt(info, 2));
  Napi::Object best = Napi::Object::New(info.Env());
  best.Set("index", Napi::Number::New(info.Env(), index));
  best.Set("value", Napi::Number::New(info.Env(), static_cast<double>(value)));
  return best;
}

static Napi::Value weightBytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(programOf(info).weightBytes()));
}

static Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  exports.Set("interface", Napi::Number::New(env, INTERFACE));
  const auto define = [&](const char* name, auto function) { exports.Set(name, Napi::Function::New(env, function, name)); };
  define("instructionSets", guard<instructionSets>);
  define("createPool", guard<createPool>);
  define("disposePool", guard<disposePool>);
  define("createProgram", guard<createProgram>);
  define("disposeProgram", guard<disposeProgram>);
  define("addVector", guard<addVector>);
  define("addDense", guard<addDense>);
  define("addInteger", guard<addInteger>);
  define("addW11", guard<addW11>);
  define("build", guard<build>);
  define("write", guard<write>);
  define("run", guard<run>);
  define("read", guard<read>);
  define("readBest", guard<readBest>);
  define("weightBytes", guard<weightBytes>);
  defineTraining(env, exports);
  return exports;
}

NODE_API_MODULE(duobit, initialize)

}  // namespace duobit
