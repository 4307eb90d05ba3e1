// Kernels of training and the table of them that one instruction set provides: what native/training.cpp deals out to threads.
// Everything is row-major f32; a unit of work writes what no other unit does, or a part of its own that is put together in
// a fixed order, so that results do not depend on the number of threads.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels.h"

namespace duobit {

/**
 * out [m, n] = op(a) op(b) for the columns [first, first + columns) of n and the steps [firstStep, firstStep + steps) of k; from
 * the second steps on, added to what is there.
 */
struct ProductTask {
  const float *a, *b;
  float* out;
  int m, n, k;
  bool aTransposed, bTransposed;
  int first, columns, firstStep, steps;
  /** The columns of op(b) in panels of `panel` of the table, [panel][step][columns of the panel], filled up with zeros. */
  float* panels;
};

/** Steps of the inner size whose sums stay in registers: a panel of so many fits the first-level cache beside rows of a. */
constexpr int PRODUCT_DEPTH = 320;
/** Equal parts of the inner size: how it is cut, and so how sums round, depends on nothing else. */
constexpr int productDepth(int k) {
  const int parts = (k + PRODUCT_DEPTH - 1) / PRODUCT_DEPTH;
  return (k + parts - 1) / parts;
}
/** Most rows in a unit of a product: with PRODUCT_DEPTH steps they take a third of a second-level cache. */
constexpr int PRODUCT_ROWS = 144;
constexpr size_t PRODUCT_SCRATCH = size_t{PRODUCT_ROWS} * PRODUCT_DEPTH;

/** Query rows whose scores are in memory at once; whole tiles of every instruction set. */
constexpr int QUERY_ROWS = 48;

struct AttentionShape {
  int windows, tokens, headCount, kvHeadCount, headSize;
  /** A position sees so many latest ones at most. */
  int span;
};

struct AttentionForward {
  AttentionShape shape;
  const float *query, *key, *value;
  float *out, *logSums;
};

struct AttentionBackward {
  AttentionShape shape;
  const float *query, *key, *value, *out, *logSums, *dOut;
  float *dQuery, *dKey, *dValue;
};

struct AdamStep {
  float beta1, beta2, epsilon, scale;
  /** 1 - beta1 and 1 - beta2, rounded once. */
  float rest1, rest2;
  /** rate / (1 - beta1^step), 1 / (1 - beta2^step). */
  float rate, correction;
};

struct TrainingTable {
  const char* name;
  /** Columns of a panel and rows of a tile. */
  int panel, tileRows;

  void (*packPanel)(const ProductTask&, int panel);
  /** Rows [begin, end), at most PRODUCT_ROWS of them, of some panels; `scratch` takes PRODUCT_SCRATCH floats. */
  void (*multiply)(const ProductTask&, int begin, int end, int firstPanel, int endPanel, float* scratch);

  /** One head of one window. `packed` says of which window and kv head the scratch holds keys and values; -1 of none. */
  void (*attend)(const AttentionForward&, int window, int head, float* scratch, int& packed);
  size_t (*attendScratch)(const AttentionShape&);
  /** All heads of one window that share a kv head. */
  void (*attendBack)(const AttentionBackward&, int window, int kvHead, float* scratch);
  size_t (*attendBackScratch)(const AttentionShape&);

  void (*normRow)(const float* x, const float* weight, float* out, int width, float epsilon);
  /** dWeight [width] is added to. */
  void (*normRowBack)(const float* x, const float* weight, const float* dOut, float* dX, float* dWeight, int width, float epsilon);
  void (*addRuns)(const float* a, const float* b, float* out, int count);
  /** `angles`: headSize / 2 cosines, then as many sines. */
  void (*turnRow)(const float* x, const float* angles, float* out, int headCount, int headSize, bool inverse);
  void (*gate)(const float* gate, const float* up, float* out, int count);
  void (*gateBack)(const float* gate, const float* up, const float* dOut, float* dGate, float* dUp, int count);
  void (*rotate)(const Rotation&, const float* x, float* out);
  /** `ones`: as many as the rotation is wide. */
  void (*rotateBack)(const Rotation&, const float* ones, const float* x, float* out);

  void (*quantizeRow)(const float* x, int width, float clipLow, float clipHigh, float* out);
  /** dClips [2] is written. */
  void (*quantizeRowBack)(const float* x, int width, float clipLow, float clipHigh, const float* dOut, float* dX, double* dClips);
  /** One group of at most 4 levels' weights. */
  void (*nearestGroup)(const float* latent, const float* levels, int count, float* out);
  void (*nearestGroupBack)(const float* latent, const float* levels, int count, const float* dOut, float* dLevels);
  void (*chosenGroup)(const int32_t* codes, const float* levels, int count, float* out);
  void (*chosenGroupBack)(const int32_t* codes, int count, const float* dOut, float* dLevels);
  void (*relaxedGroup)(const float* latent, const float* bitmap, const float* levels, int count, float* out);
  void (*relaxedGroupBack)(const float* latent, const float* bitmap, const float* levels, int count, float push, const float* dOut, float* dBitmap, float* dLevels);

  float (*distillRow)(const float* teacher, const float* student, int width);
  /** `scratch` takes `width` floats. */
  void (*distillRowBack)(const float* teacher, const float* student, int width, float dLoss, float* dStudent, float* scratch);
  void (*adam)(float* parameter, const float* gradient, float* mean, float* square, int count, const AdamStep&);
  double (*sumOfSquares)(const float* values, int count);
};

/** Null where this build lacks the instruction set; whether the machine has it cpu.h tells. */
const TrainingTable* scalarTraining();
const TrainingTable* avx2Training();
const TrainingTable* avx512Training();
const TrainingTable* neonTraining();

}  // namespace duobit
