// Packs weights from the planes of a container into the layouts of kernels.h: every tile by one thread, which writes whole words.
#include "weights.h"

#include <algorithm>
#include <array>

#include "half.h"

namespace duobit {

static int divideUp(int a, int b) { return (a + b - 1) / b; }

static uint32_t readWord(const uint8_t* bytes) {
  uint32_t word;
  std::memcpy(&word, bytes, 4);
  return word;
}

static void writeWord(uint8_t* bytes, uint32_t word) { std::memcpy(bytes, &word, 4); }

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

Weight packVector(const Packer& to, const uint8_t* plane, DenseKind kind, int columns) {
  Weight result = describe(WeightKind::Vector, 1, columns);
  float* const values = reinterpret_cast<float*>(to.arena.allocate(sizeof(float) * columns));
  for (int k = 0; k < columns; ++k) values[k] = readValue(plane, kind, k);
  result.vector = values;
  return result;
}

Weight packDense(const Packer& to, const uint8_t* plane, DenseKind kind, int rows, int columns) {
  const int width = 2 * to.kernels.vectorWidth, panels = divideUp(rows, width);
  Weight result = describe(WeightKind::Dense, rows, columns);
  const size_t panelValues = static_cast<size_t>(width) * columns;
  float* const data = reinterpret_cast<float*>(to.arena.allocate(sizeof(float) * panels * panelValues));
  to.team.each(panels, [&](int panel, int) {
    const int first = panel * width, count = std::min(width, rows - first);
    float* target = data + panel * panelValues;
    for (int k = 0; k < columns; ++k, target += width)
      for (int r = 0; r < count; ++r) target[r] = readValue(plane, kind, static_cast<size_t>(first + r) * columns + k);
  });
  result.dense = {rows, columns, panels, data};
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

/** Eight columns of 4-bit codes in two's complement, low nibble first, as code + 8 in the order of chunkByte. */
static uint32_t packNibbles(uint32_t word, int chunk) {
  word ^= 0x88888888;
  // Columns 0, 2, 4, 6 in bytes, and 1, 3, 5, 7.
  const uint32_t even = word & 0x0f0f0f0f, odd = word >> 4 & 0x0f0f0f0f;
  if (chunk == 4) {
    // 0 to 3 in bytes, and 4 to 7.
    const uint32_t low = (even & 255) | (odd & 255) << 8 | (even & 0xff00) << 8 | (odd & 0xff00) << 16;
    const uint32_t high = (even >> 16 & 255) | (odd >> 16 & 255) << 8 | even >> 24 << 16 | odd >> 24 << 24;
    return low | high << 4;
  }
  const auto join = [](uint32_t nibbles) {
    const uint32_t pairs = (nibbles | nibbles >> 4) & 0x00ff00ff;
    return (pairs | pairs >> 8) & 0xffff;
  };
  return join(even) | join(odd) << 16;
}

/** Sum of four bytes, below 256. */
static int addBytes(uint32_t bytes) { return static_cast<int>(bytes * 0x01010101 >> 24); }

/** Writes `count` columns of int8 codes of a row of a tile; gives their sum. */
static int writeBytes(uint8_t* chunks, const uint8_t* from, int count, int width, int chunk, int row) {
  int sum = 0;
  for (int k = 0; k < count; ++k) sum += static_cast<int8_t>(from[k]);
  const size_t step = static_cast<size_t>(width) * chunk;
  uint8_t* to = chunks + row * chunk;
  int k = 0;
  if (chunk == 4)
    for (; k + 4 <= count; k += 4, to += step) writeWord(to, readWord(from + k));
  else
    for (; k + 2 <= count; k += 2, to += step) std::memcpy(to, from + k, 2);
  std::memcpy(to, from + k, count - k);
  return sum;
}

/** The same of int4 codes, for the sum of code + 8. */
static int writeNibbles(uint8_t* chunks, const uint8_t* from, int count, int width, int chunk, int row) {
  int sum = 0;
  uint8_t* to = chunks + row * 4;
  for (int k = 0; k < count; k += 8, to += 4 * width) {
    uint32_t word = readWord(from + k / 2);
    // What is past the last column becomes code + 8 = 0.
    if (count - k < 8) {
      const uint32_t kept = (uint32_t{1} << 4 * (count - k)) - 1;
      word = (word & kept) | (0x88888888 & ~kept);
    }
    const uint32_t packed = packNibbles(word, chunk);
    sum += addBytes(packed & 0x0f0f0f0f) + addBytes(packed >> 4 & 0x0f0f0f0f);
    writeWord(to, packed);
  }
  return sum;
}

Weight packInteger(const Packer& to, const uint8_t* codes, const uint8_t* scales, bool nibbles, int rows, int columns,
                   int groupSize) {
  const int width = to.kernels.vectorWidth, chunk = to.kernels.chunkColumns;
  const int tiles = divideUp(rows, width), groups = divideUp(columns, groupSize);
  const size_t header = 4 * width;
  const auto groupBytes = [&](int g) {
    return header + static_cast<size_t>(storedColumns(columns, groupSize, g)) * width / (nibbles ? 2 : 1);
  };
  const size_t tileBytes = (groups - 1) * groupBytes(0) + groupBytes(groups - 1);
  Weight result = describe(WeightKind::Integer, rows, columns);
  uint8_t* const data = to.arena.allocate(tiles * tileBytes);
  // Rows of planes are padded to 4 bytes (docs/format.md).
  const size_t rowBytes = 4 * static_cast<size_t>(divideUp(columns, nibbles ? 8 : 4));
  to.team.each(tiles, [&](int tile, int) {
    const int first = tile * width, count = std::min(width, rows - first);
    uint8_t* target = data + tile * tileBytes;
    for (int g = 0; g < groups; ++g) {
      const int begin = g * groupSize, end = std::min(begin + groupSize, columns);
      for (int r = 0; r < count; ++r) {
        const size_t row = first + r;
        std::memcpy(target + 2 * r, scales + 2 * (row * groups + g), 2);
        const uint8_t* const from = codes + row * rowBytes + begin / (nibbles ? 2 : 1);
        const int sum = (nibbles ? writeNibbles : writeBytes)(target + header, from, end - begin, width, chunk, r);
        const int16_t stored = static_cast<int16_t>(sum);
        std::memcpy(target + 2 * width + 2 * r, &stored, 2);
      }
      target += groupBytes(g);
    }
  });
  result.integer = {rows, columns, tiles, groups, groupSize, nibbles, tileBytes, data};
  return result;
}

/** Bits set in each byte. */
static uint64_t countBits(uint64_t bytes) {
  bytes -= bytes >> 1 & 0x5555555555555555;
  bytes = (bytes & 0x3333333333333333) + (bytes >> 2 & 0x3333333333333333);
  return (bytes + (bytes >> 4)) & 0x0f0f0f0f0f0f0f0f;
}

/** Eight rows of eight bytes, row i in words[i], become eight columns. */
static void transposeBytes(uint64_t (&words)[8]) {
  const auto swap = [&](int a, int b, int shift, uint64_t mask) {
    const uint64_t differing = (words[a] >> shift ^ words[b]) & mask;
    words[a] ^= differing << shift;
    words[b] ^= differing;
  };
  for (int i = 0; i < 4; ++i) swap(i, i + 4, 32, 0x00000000ffffffff);
  for (int i : {0, 1, 4, 5}) swap(i, i + 2, 16, 0x0000ffff0000ffff);
  for (int i : {0, 2, 4, 6}) swap(i, i + 1, 8, 0x00ff00ff00ff00ff);
}

/** The most rows in a tile of W(1+1), and blocks of 64 columns in a group. */
constexpr int MOST_HEIGHT = 64, MOST_BLOCKS = 4;

namespace {

/** How many bits of a group of columns are set in each row of a tile: signs, bitmap, both. */
struct BitCounts {
  /** By block of 64 columns, in the order of the vectors' bytes. */
  uint8_t blocks[3][MOST_BLOCKS][MOST_HEIGHT];
  int at(int which, int byte, int columns) const {
    int sum = 0;
    for (int b = 0; 64 * b < columns; ++b) sum += blocks[which][b][byte];
    return sum;
  }
};

/** Brings the bits of a tile into its order. */
class BitTile {
 public:
  BitTile(const uint8_t* sign, const uint8_t* bitmap, int rows, int columns, int height, int (*byteOfRow)(int))
      : planes_{sign, bitmap}, rowBytes_(4 * static_cast<size_t>(divideUp(columns, 32))), rows_(rows), height_(height) {
    for (int r = 0; r < height; ++r) rowOfByte_[byteOfRow(r)] = r;
  }

  /** Writes the vectors of columns begin <= k < end of the rows from `first` on. */
  void write(uint8_t* to, int first, int begin, int end, BitCounts& counts) const {
    for (int b = 0, k = begin; k < end; ++b, k += 64, to += 16 * height_)
      for (int lane = 0; lane < height_; lane += 8) {
        const auto sums = writeBlock(to + lane, first, lane, k, std::min(64, end - k));
        for (int which = 0; which < 3; ++which) std::memcpy(&counts.blocks[which][b][lane], &sums[which], 8);
      }
  }

 private:
  /** Eight bytes of every vector of up to 64 columns; gives the counts of their rows. */
  std::array<uint64_t, 3> writeBlock(uint8_t* to, int first, int lane, int k, int columns) const {
    constexpr uint64_t LOW = 0x0f0f0f0f0f0f0f0f;
    uint64_t s[8], m[8];
    for (int i = 0; i < 8; ++i) {
      const int row = first + rowOfByte_[lane + i];
      s[i] = row < rows_ ? read(planes_[0], row, k, columns) : 0;
      m[i] = row < rows_ ? read(planes_[1], row, k, columns) : 0;
    }
    transposeBytes(s);
    transposeBytes(m);
    std::array<uint64_t, 3> sums{};
    for (int i = 0; i < 8; ++i) {
      sums[0] += countBits(s[i]);
      sums[1] += countBits(m[i]);
      sums[2] += countBits(s[i] & m[i]);
    }
    for (int i = 0; 8 * i < columns; ++i, to += 2 * height_) {
      const uint64_t low = (s[i] & LOW) | (m[i] & LOW) << 4, high = (s[i] >> 4 & LOW) | (m[i] & ~LOW);
      std::memcpy(to, &low, 8);
      std::memcpy(to + height_, &high, 8);
    }
    return sums;
  }

  /** Bits past the last column are not weights, and read as 0. */
  uint64_t read(const uint8_t* plane, int row, int k, int columns) const {
    const uint8_t* const from = plane + row * rowBytes_ + k / 8;
    uint64_t word = 0;
    if (columns == 64) {
      std::memcpy(&word, from, 8);
      return word;
    }
    std::memcpy(&word, from, columns > 32 ? 8 : 4);
    return word & ((uint64_t{1} << columns) - 1);
  }

  const uint8_t* const planes_[2];
  const size_t rowBytes_;
  const int rows_, height_;
  int rowOfByte_[MOST_HEIGHT];
};

}  // namespace

Weight packW11(const Packer& to, const uint8_t* sign, const uint8_t* bitmap, const uint8_t* alpha, const uint8_t* mu,
               int rows, int columns, int groupSize) {
  const int height = 4 * to.kernels.vectorWidth, tiles = divideUp(rows, height), groups = divideUp(columns, groupSize);
  const int planes = mu ? 4 : 2, units = groupSize / 16;
  const int lastUnits = divideUp(columns - (groups - 1) * groupSize, 16);
  const size_t levelBytes = static_cast<size_t>(planes) * height * 2, unitBytes = 4 * static_cast<size_t>(height);
  const size_t sumBytes = sizeof(float) * height;
  const size_t tileBytes =
      sumBytes + groups * levelBytes + (static_cast<size_t>(groups - 1) * units + lastUnits) * unitBytes;
  Weight result = describe(WeightKind::W11, rows, columns);
  uint8_t* const data = to.arena.allocate(tiles * tileBytes);
  const BitTile bits(sign, bitmap, rows, columns, height, to.kernels.byteOfRow);
  to.team.each(tiles, [&](int index, int) {
    uint8_t* const tile = data + index * tileBytes;
    const int first = index * height, count = std::min(height, rows - first);
    /** Of each row's decoded weights. */
    double sums[MOST_HEIGHT] = {};
    uint8_t* levels = tile + sumBytes;
    for (int g = 0; g < groups; ++g, levels += levelBytes + units * unitBytes) {
      const int begin = g * groupSize, end = std::min(begin + groupSize, columns);
      BitCounts counts;
      bits.write(levels + levelBytes, first, begin, end, counts);
      for (int r = 0; r < count; ++r) {
        const size_t pair = (static_cast<size_t>(first + r) * groups + g) * 2;
        const int byte = to.kernels.byteOfRow(r), all = end - begin;
        const int set = counts.at(0, byte, all), marked = counts.at(1, byte, all), both = counts.at(2, byte, all), others = all - marked;
        const auto keep = [&](const uint8_t* plane, int m, int at, int factor) {
          const uint16_t level = readShort(plane, pair + m);
          std::memcpy(levels + 2 * (at * height + r), &level, 2);
          sums[r] += static_cast<double>(halfToFloat(level)) * factor;
        };
        keep(alpha, 0, mu ? 1 : 0, 2 * (set - both) - others);
        keep(alpha, 1, mu ? 3 : 1, 2 * both - marked);
        if (mu) {
          keep(mu, 0, 0, others);
          keep(mu, 1, 2, marked);
        }
      }
    }
    for (int r = 0; r < count; ++r) reinterpret_cast<float*>(tile)[r] = static_cast<float>(sums[r]);
  });
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
