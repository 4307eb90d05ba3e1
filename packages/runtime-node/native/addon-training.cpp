// The face of the training kernels towards JavaScript: typed arrays come in as they are, lengths were checked in
// src/native/training.ts.
#include <cmath>

#include "addon.h"
#include "cpu.h"
#include "trainer.h"

namespace duobit {

struct TrainerBox {
  std::unique_ptr<Trainer> trainer;
};

/** The arguments of one call, in order: the trainer first. */
class Arguments {
 public:
  explicit Arguments(const Napi::CallbackInfo& info) : info_(info) {}
  Trainer& trainer() { return *unbox<TrainerBox>(info_, next_++).trainer; }
  float* floats() { return info_[next_++].As<Napi::Float32Array>().Data(); }
  const int32_t* codes() { return info_[next_++].As<Napi::Int32Array>().Data(); }
  size_t length(size_t index) const { return info_[index].As<Napi::TypedArray>().ElementLength(); }
  int integer() { return integerAt(info_, next_++); }
  double number() { return info_[next_++].As<Napi::Number>().DoubleValue(); }
  float single() { return static_cast<float>(number()); }
  bool flag() { return info_[next_++].As<Napi::Boolean>().Value(); }
  Napi::Float64Array doubles() { return info_[next_++].As<Napi::Float64Array>(); }
  AttentionShape shape() {
    AttentionShape s{};
    for (int* const field : {&s.windows, &s.tokens, &s.headCount, &s.kvHeadCount, &s.headSize, &s.span}) *field = integer();
    return s;
  }

 private:
  const Napi::CallbackInfo& info_;
  size_t next_ = 0;
};

static Napi::Value createTrainer(const Napi::CallbackInfo& info) {
  const TrainingTable* table = findTraining(info[1].As<Napi::String>().Utf8Value());
  if (!table) throw Napi::Error::New(info.Env(), "no such instruction set here");
  auto box = std::make_unique<TrainerBox>();
  box->trainer = std::make_unique<Trainer>(integerAt(info, 0), *table);
  return Napi::External<TrainerBox>::New(info.Env(), box.release(), [](Napi::Env, TrainerBox* held) { delete held; });
}

/** Calls with a function that takes Arguments; arguments are read in the order that is written there. */
template <void (*F)(Arguments&)>
static Napi::Value call(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  F(arguments);
  return info.Env().Undefined();
}

static void matMul(Arguments& in) {
  Trainer& trainer = in.trainer();
  const float *const a = in.floats(), *const b = in.floats();
  float* const out = in.floats();
  const int m = in.integer(), n = in.integer(), k = in.integer();
  const bool aTransposed = in.flag(), bTransposed = in.flag();
  trainer.multiply(a, b, out, m, n, k, aTransposed, bTransposed);
}

static void add(Arguments& in) {
  Trainer& trainer = in.trainer();
  const float *const a = in.floats(), *const b = in.floats();
  trainer.add(a, b, in.floats(), in.length(1));
}

static void rmsNorm(Arguments& in) {
  Trainer& trainer = in.trainer();
  const float *const x = in.floats(), *const weight = in.floats();
  const float epsilon = in.single();
  float* const out = in.floats();
  const int rows = in.integer(), width = in.integer();
  trainer.norm(x, weight, epsilon, out, rows, width);
}

static void rmsNormGradient(Arguments& in) {
  Trainer& trainer = in.trainer();
  const float *const x = in.floats(), *const weight = in.floats();
  const float epsilon = in.single();
  const float* const dOut = in.floats();
  float *const dX = in.floats(), *const dWeight = in.floats();
  const int rows = in.integer(), width = in.integer();
  trainer.normBack(x, weight, epsilon, dOut, dX, dWeight, rows, width);
}

static void rope(Arguments& in) {
  Trainer& trainer = in.trainer();
  const float* const x = in.floats();
  const int headCount = in.integer();
  const Napi::Float64Array frequencies = in.doubles();
  const int windows = in.integer(), tokens = in.integer();
  const bool inverse = in.flag();
  float* const out = in.floats();
  trainer.turn(x, headCount, frequencies.Data(), static_cast<int>(frequencies.ElementLength()), windows, tokens, inverse, out);
}

static void attention(Arguments& in) {
  Trainer& trainer = in.trainer();
  AttentionForward task{};
  task.shape = in.shape();
  for (const float** const field : {&task.query, &task.key, &task.value}) *field = in.floats();
  for (float** const field : {&task.out, &task.logSums}) *field = in.floats();
  trainer.attend(task);
}

static void attentionGradient(Arguments& in) {
  Trainer& trainer = in.trainer();
  AttentionBackward task{};
  task.shape = in.shape();
  for (const float** const field : {&task.query, &task.key, &task.value, &task.out, &task.logSums, &task.dOut}) *field = in.floats();
  for (float** const field : {&task.dQuery, &task.dKey, &task.dValue}) *field = in.floats();
  trainer.attendBack(task);
}

static void siluMul(Arguments& in) {
  Trainer& trainer = in.trainer();
  const float *const gate = in.floats(), *const up = in.floats();
  trainer.gate(gate, up, in.floats(), in.length(1));
}

static void siluMulGradient(Arguments& in) {
  Trainer& trainer = in.trainer();
  const float *const gate = in.floats(), *const up = in.floats(), *const dOut = in.floats();
  float *const dGate = in.floats(), *const dUp = in.floats();
  trainer.gateBack(gate, up, dOut, dGate, dUp, in.length(1));
}

static void rotate(Arguments& in) {
  Trainer& trainer = in.trainer();
  const float* const x = in.floats();
  const int rows = in.integer(), width = in.integer();
  const bool inverse = in.flag();
  trainer.rotate(x, rows, width, inverse, in.floats());
}

static void quantizeActivations(Arguments& in) {
  Trainer& trainer = in.trainer();
  const float* const x = in.floats();
  const int rows = in.integer(), width = in.integer();
  const float* const clips = in.floats();
  trainer.quantize(x, rows, width, clips, in.floats());
}

static void quantizeActivationsGradient(Arguments& in) {
  Trainer& trainer = in.trainer();
  const float* const x = in.floats();
  const int rows = in.integer(), width = in.integer();
  const float *const clips = in.floats(), *const dOut = in.floats();
  float *const dX = in.floats(), *const dClips = in.floats();
  trainer.quantizeBack(x, rows, width, clips, dOut, dX, dClips);
}

static void nearestLevels(Arguments& in) {
  Trainer& trainer = in.trainer();
  const float *const latent = in.floats(), *const levels = in.floats();
  const int rows = in.integer(), columns = in.integer(), groupSize = in.integer();
  trainer.nearest(latent, levels, rows, columns, groupSize, in.floats());
}

static void nearestLevelsGradient(Arguments& in) {
  Trainer& trainer = in.trainer();
  const float *const latent = in.floats(), *const levels = in.floats();
  const int rows = in.integer(), columns = in.integer(), groupSize = in.integer();
  const float* const dOut = in.floats();
  trainer.nearestBack(latent, levels, rows, columns, groupSize, dOut, in.floats());
}

static void chosenLevels(Arguments& in) {
  Trainer& trainer = in.trainer();
  const int32_t* const codes = in.codes();
  const float* const levels = in.floats();
  const int rows = in.integer(), columns = in.integer(), groupSize = in.integer();
  trainer.chosen(codes, levels, rows, columns, groupSize, in.floats());
}

static void chosenLevelsGradient(Arguments& in) {
  Trainer& trainer = in.trainer();
  const int32_t* const codes = in.codes();
  const int rows = in.integer(), columns = in.integer(), groupSize = in.integer();
  const float* const dOut = in.floats();
  trainer.chosenBack(codes, rows, columns, groupSize, dOut, in.floats());
}

static void relaxedLevels(Arguments& in) {
  Trainer& trainer = in.trainer();
  const float *const latent = in.floats(), *const bitmap = in.floats(), *const levels = in.floats();
  const int rows = in.integer(), columns = in.integer(), groupSize = in.integer();
  trainer.relaxed(latent, bitmap, levels, rows, columns, groupSize, in.floats());
}

static void relaxedLevelsGradient(Arguments& in) {
  Trainer& trainer = in.trainer();
  const float *const latent = in.floats(), *const bitmap = in.floats(), *const levels = in.floats();
  const int rows = in.integer(), columns = in.integer(), groupSize = in.integer();
  const float push = in.single();
  const float* const dOut = in.floats();
  float *const dBitmap = in.floats(), *const dLevels = in.floats();
  trainer.relaxedBack(latent, bitmap, levels, rows, columns, groupSize, push, dOut, dBitmap, dLevels);
}

static void distillationLoss(Arguments& in) {
  Trainer& trainer = in.trainer();
  const float *const teacher = in.floats(), *const student = in.floats();
  const int rows = in.integer(), width = in.integer();
  trainer.distill(teacher, student, rows, width, in.floats());
}

static void distillationLossGradient(Arguments& in) {
  Trainer& trainer = in.trainer();
  const float *const teacher = in.floats(), *const student = in.floats();
  const int rows = in.integer(), width = in.integer();
  const float* const dLosses = in.floats();
  trainer.distillBack(teacher, student, rows, width, dLosses, in.floats());
}

/** (trainer, parameter, gradient, mean, square, rate, beta1, beta2, epsilon, step, scale) */
static void adam(Arguments& in) {
  Trainer& trainer = in.trainer();
  float* const parameter = in.floats();
  const float* const gradient = in.floats();
  float *const mean = in.floats(), *const square = in.floats();
  const double rate = in.number(), beta1 = in.number(), beta2 = in.number(), epsilon = in.number(), step = in.number(), scale = in.number();
  const auto round = [](double value) { return static_cast<float>(value); };
  trainer.adam(parameter, gradient, mean, square, in.length(1),
               {round(beta1), round(beta2), round(epsilon), round(scale), round(1 - beta1), round(1 - beta2),
                round(rate / (1 - std::pow(beta1, step))), round(1 / (1 - std::pow(beta2, step)))});
}

static Napi::Value sumOfSquares(const Napi::CallbackInfo& info) {
  Arguments in(info);
  Trainer& trainer = in.trainer();
  return Napi::Number::New(info.Env(), trainer.sumOfSquares(in.floats(), in.length(1)));
}

void defineTraining(Napi::Env env, Napi::Object exports) {
  Napi::Object training = Napi::Object::New(env);
  const auto define = [&](const char* name, auto function) { training.Set(name, Napi::Function::New(env, function, name)); };
  define("create", guard<createTrainer>);
  define("matMul", guard<call<matMul>>);
  define("add", guard<call<add>>);
  define("rmsNorm", guard<call<rmsNorm>>);
  define("rmsNormGradient", guard<call<rmsNormGradient>>);
  define("rope", guard<call<rope>>);
  define("attention", guard<call<attention>>);
  define("attentionGradient", guard<call<attentionGradient>>);
  define("siluMul", guard<call<siluMul>>);
  define("siluMulGradient", guard<call<siluMulGradient>>);
  define("rotate", guard<call<rotate>>);
  define("quantizeActivations", guard<call<quantizeActivations>>);
  define("quantizeActivationsGradient", guard<call<quantizeActivationsGradient>>);
  define("nearestLevels", guard<call<nearestLevels>>);
  define("nearestLevelsGradient", guard<call<nearestLevelsGradient>>);
  define("chosenLevels", guard<call<chosenLevels>>);
  define("chosenLevelsGradient", guard<call<chosenLevelsGradient>>);
  define("relaxedLevels", guard<call<relaxedLevels>>);
  define("relaxedLevelsGradient", guard<call<relaxedLevelsGradient>>);
  define("distillationLoss", guard<call<distillationLoss>>);
  define("distillationLossGradient", guard<call<distillationLossGradient>>);
  define("adam", guard<call<adam>>);
  define("sumOfSquares", guard<sumOfSquares>);
  exports.Set("training", training);
}

}  // namespace duobit
