// Packs weights from the planes of a container into the layouts of kernels.h.
#include "weights.h"

#include "half.h"

namespace duobit {

static int divideUp(int a, int b) { return (a + b - 1) / b; }

static uint16_t readShort(const uint8_t* plane, size_t index) {
  return static_cast<uint16_t>(plane[2 * index] | plane[2 * index + 1] << 8);
}

static float readValue(const uint8_t* plane, DenseKind kind, size_t index) {
  if (kind == DenseKind::F16) return halfToFloat(readShort(plane, index));
  uint32_t word;
  if (kind == DenseKind::BF16) word = static_cast<uint32_t>(readShort(plane, index)) << 16;
  else std::memcpy(&word, plane + 4 * index, 4);
  float value;
  std::memcpy(&value, &word, 4);
  return value;
}

static Weight describe(WeightKind kind, int rows, int columns) {
  Weight result{};
  result.kind = kind;
  result.rows = rows;
  result.columns = columns;
  return result;
}

Weight packVector(Arena& arena, const uint8_t* plane, DenseKind kind, int columns) {
  Weight result = describe(WeightKind::Vector, 1, columns);
  float* to = reinterpret_cast<float*>(arena.allocate(sizeof(float) * columns));
  for (int k = 0; k < columns; ++k) to[k] = readValue(plane, kind, k);
  result.vector = to;
  return result;
}

Weight packDense(Arena& arena, const Kernels& kernels, const uint8_t* plane, DenseKind kind, int rows, int columns) {
  const int width = 2 * kernels.vectorWidth, panels = divideUp(rows, width);
  Weight result = describe(WeightKind::Dense, rows, columns);
  float* to = reinterpret_cast<float*>(arena.allocate(sizeof(float) * static_cast<size_t>(panels) * width * columns));
  for (int row = 0; row < rows; ++row) {
    float* target = to + static_cast<size_t>(row / width) * width * columns + row % width;
    const size_t from = static_cast<size_t>(row) * columns;
    for (int k = 0; k < columns; ++k) target[static_cast<size_t>(k) * width] = readValue(plane, kind, from + k);
  }
  result.dense = {rows, columns, panels, to};
  return result;
}

/** Columns of a group that are stored: all, or in the last one those left, rounded up to 8. */
static int storedColumns(int columns, int groupSize, int g) {
  const int rest = columns - g * groupSize;
  return rest < groupSize ? divideUp(rest, 8) * 8 : groupSize;
}

/** Where column k of a group lies in the chunks of a row of a tile: byte, and shift of the nibble. */
static size_t chunkByte(int vectorWidth, int chunk, bool nibbles, int row, int k, int& shift) {
  shift = 0;
  if (!nibbles) return static_cast<size_t>(k / chunk) * vectorWidth * chunk + row * chunk + k % chunk;
  const int within = k % 8;
  shift = (chunk == 4 ? within & 4 : within & 2) != 0 ? 4 : 0;
  return static_cast<size_t>(k / 8) * vectorWidth * 4 + row * 4 + (chunk == 4 ? within % 4 : within % 2 * 2 + within / 4);
}

Weight packInteger(Arena& arena, const Kernels& kernels, const uint8_t* codes, const uint8_t* scales, bool nibbles,
                   int rows, int columns, int groupSize) {
  const int width = kernels.vectorWidth, chunk = kernels.chunkColumns;
  const int tiles = divideUp(rows, width), groups = divideUp(columns, groupSize);
  const size_t header = 4 * width;
  size_t tileBytes = 0;
  for (int g = 0; g < groups; ++g)
    tileBytes += header + static_cast<size_t>(storedColumns(columns, groupSize, g)) * width / (nibbles ? 2 : 1);
  Weight result = describe(WeightKind::Integer, rows, columns);
  uint8_t* const data = arena.allocate(tiles * tileBytes);
  // Rows of planes are padded to 4 bytes (docs/format.md).
  const size_t rowBytes = 4 * static_cast<size_t>(divideUp(columns, nibbles ? 8 : 4));
  for (int row = 0; row < rows; ++row) {
    uint8_t* to = data + row / width * tileBytes;
    const uint8_t* from = codes + row * rowBytes;
    for (int g = 0; g < groups; ++g) {
      const uint16_t scale = readShort(scales, static_cast<size_t>(row) * groups + g);
      std::memcpy(to + 2 * (row % width), &scale, 2);
      uint8_t* chunks = to + header;
      const int begin = g * groupSize, rest = columns - begin, count = rest < groupSize ? rest : groupSize;
      int sum = 0;
      for (int k = 0; k < count; ++k) {
        int shift;
        const size_t at = chunkByte(width, chunk, nibbles, row % width, k, shift);
        if (nibbles) {
          // Two's complement to code + 8.
          const int code = (from[(begin + k) / 2] >> ((begin + k) % 2 * 4) & 15) ^ 8;
          chunks[at] = static_cast<uint8_t>(chunks[at] | code << shift);
          sum += code;
        } else {
          chunks[at] = from[begin + k];
          sum += static_cast<int8_t>(from[begin + k]);
        }
      }
      const int16_t stored = static_cast<int16_t>(sum);
      std::memcpy(to + 2 * width + 2 * (row % width), &stored, 2);
      to = chunks + static_cast<size_t>(storedColumns(columns, groupSize, g)) * width / (nibbles ? 2 : 1);
    }
  }
  result.integer = {rows, columns, tiles, groups, groupSize, nibbles, tileBytes, data};
  return result;
}

static int countBits(int byte) {
  int count = 0;
  for (; byte; byte &= byte - 1) ++count;
  return count;
}

Weight packW11(Arena& arena, const Kernels& kernels, const uint8_t* sign, const uint8_t* bitmap, const uint8_t* alpha,
               const uint8_t* mu, int rows, int columns, int groupSize) {
  const int height = 4 * kernels.vectorWidth, tiles = divideUp(rows, height), groups = divideUp(columns, groupSize);
  const int planes = mu ? 4 : 2, units = groupSize / 16;
  const int lastUnits = divideUp(columns - (groups - 1) * groupSize, 16);
  const size_t levelBytes = static_cast<size_t>(planes) * height * 2, unitBytes = 4 * static_cast<size_t>(height);
  const size_t sumBytes = sizeof(float) * height;
  const size_t tileBytes =
      sumBytes + groups * levelBytes + (static_cast<size_t>(groups - 1) * units + lastUnits) * unitBytes;
  Weight result = describe(WeightKind::W11, rows, columns);
  uint8_t* const data = arena.allocate(tiles * tileBytes);
  const size_t rowBytes = 4 * static_cast<size_t>(divideUp(columns, 32));
  // Bits past the last column are not weights.
  const int lastByte = divideUp(columns, 8) - 1, lastMask = columns % 8 == 0 ? 255 : (1 << columns % 8) - 1;
  for (int row = 0; row < rows; ++row) {
    const int r = row % height, lane = kernels.byteOfRow(r);
    uint8_t* const tile = data + row / height * tileBytes;
    uint8_t* to = tile + sumBytes;
    double total = 0;
    for (int g = 0; g < groups; ++g) {
      const size_t pair = (static_cast<size_t>(row) * groups + g) * 2;
      for (int m = 0; m < 2; ++m) {
        const uint16_t a = readShort(alpha, pair + m);
        std::memcpy(to + 2 * ((mu ? 2 * m + 1 : m) * height + r), &a, 2);
        if (mu) {
          const uint16_t middle = readShort(mu, pair + m);
          std::memcpy(to + 2 * (2 * m * height + r), &middle, 2);
        }
      }
      to += levelBytes;
      const int first = g * groupSize / 8, rest = lastByte + 1 - first;
      const int count = rest < groupSize / 8 ? rest : groupSize / 8;
      int signs = 0, bits = 0, both = 0;
      for (int i = 0; i < count; ++i) {
        const int mask = first + i == lastByte ? lastMask : 255;
        const int s = sign[row * rowBytes + first + i] & mask, m = bitmap[row * rowBytes + first + i] & mask;
        to[static_cast<size_t>(2 * i) * height + lane] = static_cast<uint8_t>((s & 15) | (m & 15) << 4);
        to[static_cast<size_t>(2 * i + 1) * height + lane] = static_cast<uint8_t>(s >> 4 | (m & 0xf0));
        signs += countBits(s);
        bits += countBits(m);
        both += countBits(s & m);
      }
      to += (g + 1 == groups ? lastUnits : units) * unitBytes;
      const int left = columns - g * groupSize, others = (left < groupSize ? left : groupSize) - bits;
      total += static_cast<double>(halfToFloat(readShort(alpha, pair))) * (2 * (signs - both) - others);
      total += static_cast<double>(halfToFloat(readShort(alpha, pair + 1))) * (2 * both - bits);
      if (mu) {
        total += static_cast<double>(halfToFloat(readShort(mu, pair))) * others;
        total += static_cast<double>(halfToFloat(readShort(mu, pair + 1))) * bits;
      }
    }
    reinterpret_cast<float*>(tile)[r] = static_cast<float>(total);
  }
  result.w11 = {rows, columns, tiles, groups, groupSize, units, lastUnits, mu != nullptr, tileBytes, data};
  return result;
}

void decodeRow(const Kernels& kernels, const Weight& weight, int row, float* out) {
  if (weight.kind == WeightKind::Dense) {
    const int width = 2 * kernels.vectorWidth;
    const float* from = weight.dense.data + static_cast<size_t>(row / width) * width * weight.columns + row % width;
    for (int k = 0; k < weight.columns; ++k) out[k] = from[static_cast<size_t>(k) * width];
    return;
  }
  const IntegerMatrix& m = weight.integer;
  const int width = kernels.vectorWidth;
  const uint8_t* from = m.data + row / width * m.tileBytes;
  for (int g = 0; g < m.groups; ++g) {
    uint16_t bits;
    std::memcpy(&bits, from + 2 * (row % width), 2);
    const float scale = halfToFloat(bits);
    from += 4 * width;
    const int begin = g * m.groupSize, rest = m.columns - begin;
    for (int k = 0; k < (rest < m.groupSize ? rest : m.groupSize); ++k) {
      int shift;
      const uint8_t byte = from[chunkByte(width, kernels.chunkColumns, m.nibbles, row % width, k, shift)];
      const int code = m.nibbles ? (byte >> shift & 15) - 8 : static_cast<int8_t>(byte);
      out[begin + k] = scale * static_cast<float>(code);
    }
    from += static_cast<size_t>(storedColumns(m.columns, m.groupSize, g)) * width / (m.nibbles ? 2 : 1);
  }
}

}  // namespace duobit
