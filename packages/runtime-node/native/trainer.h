// The operations of training on the threads of a team: packages/core/src/training-kernels.ts says what they compute. Sizes were
// checked in src/native/training.ts.
#pragma once
#include <map>
#include <memory>

#include "rotation.h"
#include "team.h"
#include "training.h"

namespace duobit {

class Trainer {
 public:
  /** @throws std::system_error when a thread cannot be started. */
  Trainer(int threads, const TrainingTable& table) : table_(table), team_(threads) {}

  // All of these throw std::bad_alloc where they need room of their own.
  void multiply(const float* a, const float* b, float* out, int m, int n, int k, bool aTransposed, bool bTransposed);
  void add(const float* a, const float* b, float* out, size_t count);
  void norm(const float* x, const float* weight, float epsilon, float* out, int rows, int width);
  void normBack(const float* x, const float* weight, float epsilon, const float* dOut, float* dX, float* dWeight, int rows, int width);
  void turn(const float* x, int headCount, const double* frequencies, int half, int windows, int tokens, bool inverse, float* out);
  void attend(const AttentionForward& task);
  void attendBack(const AttentionBackward& task);
  void gate(const float* gate, const float* up, float* out, size_t count);
  void gateBack(const float* gate, const float* up, const float* dOut, float* dGate, float* dUp, size_t count);
  void rotate(const float* x, int rows, int width, bool inverse, float* out);
  void quantize(const float* x, int rows, int width, const float* clips, float* out);
  void quantizeBack(const float* x, int rows, int width, const float* clips, const float* dOut, float* dX, float* dClips);
  void nearest(const float* latent, const float* levels, int rows, int columns, int groupSize, float* out);
  void nearestBack(const float* latent, const float* levels, int rows, int columns, int groupSize, const float* dOut, float* dLevels);
  void chosen(const int32_t* codes, const float* levels, int rows, int columns, int groupSize, float* out);
  void chosenBack(const int32_t* codes, int rows, int columns, int groupSize, const float* dOut, float* dLevels);
  void relaxed(const float* latent, const float* bitmap, const float* levels, int rows, int columns, int groupSize, float* out);
  void relaxedBack(const float* latent, const float* bitmap, const float* levels, int rows, int columns, int groupSize, float push, const float* dOut, float* dBitmap, float* dLevels);
  void distill(const float* teacher, const float* student, int rows, int width, float* losses);
  void distillBack(const float* teacher, const float* student, int rows, int width, const float* dLosses, float* dStudent);
  void adam(float* parameter, const float* gradient, float* mean, float* square, size_t count, const AdamStep& step);
  double sumOfSquares(const float* values, size_t count);

 private:
  /** A rotation of some width, and as many ones. */
  struct Turned {
    explicit Turned(int width) : signs(width), ones(static_cast<size_t>(width), 1.0f) {}
    RotationSigns signs;
    std::vector<float> ones;
  };

  /** act(first, end, thread) for runs of about RUN values, whole rows. */
  template <class F>
  void eachRows(int rows, size_t width, F&& act);
  /** act(first weight, first level, weights) for every group of every row. */
  template <class F>
  void eachGroup(int rows, int columns, int groupSize, F&& act);
  template <class F>
  void eachRun(size_t count, F&& act);
  /** [position][cosines, sines] of the latest frequencies asked for. */
  const float* anglesOf(const double* frequencies, int half, int tokens);

  const TrainingTable& table_;
  std::map<int, std::unique_ptr<Turned>> rotations_;
  std::vector<double> frequencies_;
  std::vector<float> angles_;
  std::vector<int> packed_;
  Team team_;
};

}  // namespace duobit
