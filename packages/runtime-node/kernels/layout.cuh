// How weights and 4-bit codes lie in device memory. W(1+1) weights and codes come in units of 128 columns, and a unit is 4 words t of 32
// columns, so that a lane of a warp loads whole words and each is, with a mask and at most one shift, an operand of an
// int8 tensor core: bits j, 8 + j, 16 + j and 24 + j of a weight word are four bytes when masked in place. They
// then count 2^(j & 3), so codes are stored times 2^(3 - (j & 3)): every product is 8 times what it should be, exactly.
// Words as they are, are operands of a tensor core of single bits. Word t has every fourth column, from t on, so that a warp that
// has a unit of activations, a lane four neighbours, makes words of codes by votes.
//
//   weights  [tile of 16 rows][unit][lane = 4 g + t] sign, bitmap of row g; sign, bitmap of row g + 8  (16 bytes a lane)
//   levels   [tile][group][row of the tile] alpha0, alpha1 and, with offsets, mu0, mu1  (f16)
//   codes    [row][unit][half of the eight j][t][j] four codes, byte b for bit 8 b + j  (128 bytes a unit)
//   sums     [row][unit][4] plain sums of codes: of the unit, its halves or its quarters, whatever a group needs
#pragma once
#include "common.cuh"

#define UNIT 128
#define UNIT_WORDS 32
#define TILE_ROWS 16

/** Encodings of weights that are not W(1+1): rows of whole 16 bytes, with scales beside the integers. */
enum DenseKind { DENSE_F32, DENSE_F16, DENSE_BF16, DENSE_INT8, DENSE_INT4 };

/** Which columns are neighbours: groups of 128 or 256 take a unit as it is, smaller ones must not share a product. */
enum Layout { LAYOUT_UNIT = 0, LAYOUT_HALF = 1, LAYOUT_QUARTER = 2 };

/** Which four neighbouring columns of a unit have bit i = 8 b + j of its words. */
DEVICE int quadOf(int layout, int i) {
  const int j = i & 7, b = i >> 3;
  if (layout == LAYOUT_UNIT) return i;
  if (layout == LAYOUT_HALF) return (j >> 2) * 16 + b * 4 + (j & 3);
  return (j >> 1) * 8 + b * 2 + (j & 1);
}

/** The column within a unit of byte b of word (t, j). */
DEVICE int columnOf(int layout, int t, int j, int b) { return 4 * quadOf(layout, 8 * b + j) + t; }

/** Where the word (t, j) of codes lies in a unit: lanes t side by side, so that a warp's loads are of whole sectors. */
DEVICE int wordOf(int t, int j) { return (j >> 2) * 16 + t * 4 + (j & 3); }

/** The reverse of columnOf. */
DEVICE void placeOf(int layout, int column, int& t, int& j, int& byte) {
  const int quad = column >> 2;
  t = column & 3;
  if (layout == LAYOUT_UNIT) {
    byte = quad >> 3;
    j = quad & 7;
  } else if (layout == LAYOUT_HALF) {
    byte = quad >> 2 & 3;
    j = (quad >> 4) * 4 + (quad & 3);
  } else {
    byte = quad >> 1 & 3;
    j = (quad >> 3) * 2 + (quad & 1);
  }
}
