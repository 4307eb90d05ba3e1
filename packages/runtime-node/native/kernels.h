// What the kernels of every instruction set have in common: layouts of weights, activations and cache, and the table of
// functions that one instruction set provides.
//
// VW is the number of f32 in a vector of the instruction set (16, 8 or 4). All layouts follow from it:
//
// W(1+1): tiles of R = 4 VW rows. A tile is one stream: the f32 sums of each row's decoded weights [R], then for each group
//   of columns f16 levels [mu0 | alpha0 | mu1 | alpha1][R] (without offsets [alpha0 | alpha1][R]) and for every 4 columns one vector of R bytes:
//   low nibble = the 4 sign bits, high nibble = the 4 bitmap bits. Even bytes hold the first half of the rows, odd bytes the
//   second, in an order that the instruction set names (byteOfRow), so that the low and the high bytes of 16-bit lanes come
//   out as the two halves of the tile in order. Columns are padded to 16.
// Dense f32: panels of 2 VW rows, [panel][column][2 VW].
// int8 / int4: tiles of VW rows. For each group f16 scales [VW], i16 sums of the stored codes [VW], then chunks of
//   4 VW bytes (VNNI) or 2 VW bytes: [row][4 or 2 columns]. int4 keeps code + 8, 8 columns in the 4 bytes of a row: byte j
//   holds columns j and j + 4 (VNNI), otherwise 0 and 2, 4 and 6, 1 and 3, 5 and 7, so that neighbours are 16 bits apart.
// Codes of activations: for every 4 columns the 16 sums of subsets of their codes; the sum of the codes of every 32 columns.
// KV cache: blocks of ATTENTION_BLOCK positions, so that memory is used as the context grows; [block][layer][kv head][keys,
//   values]. Keys are tiles of VW positions, so that a score needs no sum across lanes.
//   f32 and f16: a tile of keys is [dimension][VW positions], one of values [VW positions][dimension padded to vectors].
//   int8 and int4: dimensions (keys) or positions (values) are taken in pairs, as the products of 16-bit integers want them:
//   of 2 VW in a row, i and i + VW are pair i. Two pairs fill a vector of 4 VW bytes: lane by lane 16 bits of the first and 16
//   of the second member, of which the low byte belongs to the even, the high byte to the odd pair.
//   A tile of keys is f16 offsets [VW] and steps [VW] of each group of CACHE_GROUP dimensions, then vectors with positions in
//   the lanes; in int4 the low nibbles are the first, the high nibbles the second of two vectors.
//   Values are, for each group of dimensions, f16 offsets [ATTENTION_BLOCK] and steps [ATTENTION_BLOCK], then for every VW
//   dimensions, which are in the lanes, the vectors of all pairs of positions. In int4 the nibbles of a byte are VW dimensions
//   apart: of one position, so that no byte is written for two.
#pragma once
#include <cstddef>
#include <cstdint>

namespace duobit {

struct W11Matrix {
  int rows, columns, tiles, groups, groupSize;
  /** Units of 16 columns in a group, and in the last one. */
  int unitsPerGroup, lastUnits;
  bool offsets;
  size_t tileBytes;
  const uint8_t* data;
};

struct DenseMatrix {
  int rows, columns, panels;
  const float* data;
};

struct IntegerMatrix {
  int rows, columns, tiles, groups, groupSize;
  bool nibbles;
  size_t tileBytes;
  const uint8_t* data;
};

/** Rows of 4-bit codes. Strides in bytes (tables), values (sums); params holds (lo, step) a row. */
struct CodedRows {
  uint8_t* tables;
  size_t tableStride;
  int16_t* sums;
  size_t sumStride;
  float* params;
};

/**
 * Rows rounded to 16-bit integers a group, docs/numerics.md "Dense and integer weights". `codes`: with VNNI the high bytes
 * of x + 32768, then the low bytes, `codeStride / 2` each; otherwise int16.
 */
struct RoundedRows {
  uint8_t* codes;
  size_t codeStride;
  float* scales;
  int32_t* sums;
  size_t groupStride;
};

/** Of rows of `width` values of which two transforms take the first and the last `span`, a power of two. */
struct Rotation {
  int width, span;
  /** Of a transform. */
  float scale;
  /** `width` signs each, before the first and before the second transform. */
  const float *first, *second;
};

/** Precisions of the KV cache as the caller numbers them. */
enum class CacheKind { F32, F16, Int8, Int4 };

/**
 * Dimensions of a head that share offset and step in an int8 or int4 cache; dimensions of a query, and positions, whose factors
 * are rounded to 16 bits with one step. A sum over so many fits 32 bits.
 */
constexpr int CACHE_GROUP = 32;

/** Positions whose scores are in memory at once, and that lie together in the cache; a multiple of every VW. */
constexpr int ATTENTION_BLOCK = 128;

/** Most parts that a row's positions are taken in. */
constexpr int MOST_PARTS = 8;

// Of internal linkage, as each instruction set compiles this file its own way.

/** Parts that so many positions are taken in at most: a power of two, so that threads may share them evenly. */
static inline int mostParts(int positions) {
  int parts = 1;
  while (parts < MOST_PARTS && positions >= 128 * parts) parts *= 2;
  return parts;
}
/**
 * Positions in a part, in whole tiles of any width. It depends on their number alone: a row has the same bits however many threads and
 * rows there are beside it.
 */
static inline int partLength(int positions) {
  const int parts = mostParts(positions);
  return ((positions + parts - 1) / parts + 15) / 16 * 16;
}
/** Where a row's visible positions begin. */
static inline int oldestSeen(int seen, int window) { return window > 0 && seen > window ? seen - window : 0; }

/** One layer's cache of one sequence; sizes in bytes. */
struct CacheLayer {
  CacheKind kind;
  int kvHeads, headSize;
  /** The layer in the first block. */
  uint8_t* data;
  /** Values: of a float cache VW positions, of one with codes a group of dimensions in a whole block. */
  size_t keyTile, valueTile;
  /** Keys of one kv head in a block; keys and values; all layers. */
  size_t keyBytes, headBytes, blockBytes;
};

/**
 * All queries of some rows of a sequence that share a kv head. Row r sees the positions up to `position + r`, `window` of them at
 * most, in parts of `partLength`.
 */
struct AttentionTask {
  const CacheLayer* cache;
  int kvHead, count, rows, position, window;
  /** Positions looked at: all that are seen, or with `stats` a part of them. */
  int first, end;
  /** The first query, and floats from row to row; within a row they are headSize apart. The same of results. */
  const float* queries;
  size_t queryStride;
  float* outs;
  size_t outStride;
  float scale;
  /**
   * Of one row's part, for each query the largest score and the sum of e^(score - largest). When given, the outs are left undivided,
   * to be put together by `mergeAttention`; when null they are finished.
   */
  float* stats;
  /** attentionScratch() floats. */
  float* scratch;
};

/** Most rows in a task: they share what is read of the cache. */
constexpr int ATTENTION_ROWS = 8;
/** Queries that go through the registers together. */
constexpr int MOST_QUERIES = 4;

/**
 * Floats: scores of MOST_QUERIES in a block; of all rows and their `count` queries rounded values, step and sum, stats of all parts so
 * far and of the latest, and what the latest gave.
 */
constexpr size_t attentionScratch(size_t headSize, size_t count) {
  const size_t groups = (headSize + CACHE_GROUP - 1) / CACHE_GROUP;
  return MOST_QUERIES * ATTENTION_BLOCK + ATTENTION_ROWS * count * (groups * (CACHE_GROUP / 2 + 2) + 4 + headSize);
}

/** Rows of a matrix of sums that are one unit of work; a multiple of every DENSE_ROWS. */
constexpr int GRAM_STRIP = 48;
/** Rows of activations whose products are summed in f32: a panel of them and a tile fit the first-level cache. */
constexpr int GRAM_ROWS = 256;

/** sums[i][j] += sum over rows of x[row][i] * y[row][j]. Where y is x, only for j >= i and what tiles hold besides. */
struct GramTask {
  const float *x, *y;
  size_t xStride, yStride;
  int rows, width;
  double* sums;
  /** gramScratch() floats. */
  float* scratch;
};

constexpr size_t gramScratch(size_t vectorWidth) { return GRAM_ROWS * (GRAM_STRIP + 2 * vectorWidth); }

struct Kernels {
  const char* name;
  int vectorWidth;
  /** Columns of a row in a chunk of integer weights. */
  int chunkColumns;
  /** Where a vector of a W(1+1) tile has the byte of a row. */
  int (*byteOfRow)(int row);
  void (*quantizeRow)(const float* x, int width, float clipLow, float clipHigh, uint8_t* tables, int16_t* sums,
                      float* params);
  /** out[t][n] for the rows of tiles first <= tile < end; `spill` takes 4 VW floats for each of 4 rows. */
  void (*w11Coded)(const W11Matrix&, const CodedRows&, int rows, int first, int end, float* out, size_t outStride,
                   float* spill);
  /** The same on f32 rows; `spill` takes a decoded group, 4 VW * groupSize floats. */
  void (*w11Float)(const W11Matrix&, const float* x, size_t xStride, int rows, int first, int end, float* out,
                   size_t outStride, float* spill);
  void (*dense)(const DenseMatrix&, const float* x, size_t xStride, int rows, int first, int end, float* out,
                size_t outStride);
  void (*roundRow)(const float* x, int width, int groupSize, uint8_t* codes, size_t codeBytes, float* scales,
                   int32_t* sums);
  void (*integer)(const IntegerMatrix&, const RoundedRows&, int firstRow, int rows, int first, int end, float* out,
                  size_t outStride);
  void (*rmsNorm)(const float* x, const float* weight, float* out, int width, float epsilon);
  /** out = x R; out may be x. */
  void (*rotate)(const Rotation&, const float* x, float* out);
  void (*rope)(float* target, const float* angles, int headCount, int headSize);
  void (*cacheRow)(const CacheLayer&, const float* key, const float* value, int position);
  void (*attention)(const AttentionTask&);
  /** Of one row: stats [part][head][2], which are changed, mixes [part][head][headSize]. */
  void (*mergeAttention)(float* stats, const float* mixes, int parts, int headCount, int headSize, float* out);
  void (*siluMul)(const float* gate, const float* up, float* out, int width);
  void (*add)(const float* input, float* out, int width);
  /** The strips first <= strip < end of the matrix. */
  void (*gram)(const GramTask&, int first, int end);
  /** Where the largest of some values is, the first of equal ones; one that is not a number counts as the largest. */
  int (*largest)(const float* x, int count);
};

/** Null where this build or this machine lacks the instruction set. */
const Kernels* scalarKernels();
const Kernels* avx2Kernels();
const Kernels* avx512Kernels();
const Kernels* neonKernels();
const Kernels* neonDotprodKernels();

}  // namespace duobit
