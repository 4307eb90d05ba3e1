// The addon's C++ without Node, for sanitizers: random models of random shapes on every instruction set and several
// numbers of threads. Every number of threads must give the same bits; sums of integers and rotations must be exact.
//
//   stress [rounds] [seed]
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iterator>

#include "../cpu.h"
#include "../program.h"

using namespace duobit;

namespace {

uint64_t state = 1;
uint32_t draw() {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return static_cast<uint32_t>(state >> 24);
}
int drawInt(int least, int most) { return least + static_cast<int>(draw() % static_cast<uint32_t>(most - least + 1)); }
std::vector<uint8_t> drawBytes(size_t count) {
  std::vector<uint8_t> bytes(count);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(draw());
  return bytes;
}
/** f16 levels, all normal and of moderate size. */
std::vector<uint8_t> drawHalves(size_t count) {
  std::vector<uint8_t> bytes(2 * count);
  for (size_t i = 0; i < count; ++i) {
    bytes[2 * i] = static_cast<uint8_t>(draw());
    bytes[2 * i + 1] = static_cast<uint8_t>(0x24 + draw() % 8);
  }
  return bytes;
}
size_t up(size_t value, size_t multiple) { return (value + multiple - 1) / multiple; }

Weight drawW11(Program& program, int rows, int columns) {
  const int group = 32 << drawInt(0, 3);
  const size_t stride = 4 * up(columns, 32), levels = rows * up(columns, group) * 2;
  const auto sign = drawBytes(rows * stride), bitmap = drawBytes(rows * stride), alpha = drawHalves(levels), mu = drawHalves(levels);
  return packW11(program.packer(), sign.data(), bitmap.data(), alpha.data(), drawInt(0, 1) ? mu.data() : nullptr, rows, columns, group);
}
Weight drawInteger(Program& program, int rows, int columns) {
  const bool nibbles = drawInt(0, 1) != 0;
  const int group = 32 << drawInt(0, 3);
  const auto codes = drawBytes(rows * 4 * up(columns, nibbles ? 8 : 4)), scales = drawHalves(rows * up(columns, group));
  return packInteger(program.packer(), codes.data(), scales.data(), nibbles, rows, columns, group);
}
Weight drawVector(Program& program, int columns) {
  const auto values = drawHalves(columns);
  return packVector(program.packer(), values.data(), DenseKind::F16, columns);
}

/** Two blocks of the same weights with embedding and head; the logits of a prompt, of single steps, and of runs of three sequences. */
std::vector<float> runModel(const Kernels& kernels, int threads, uint64_t seed) {
  state = seed;
  const int headSize = 2 * drawInt(1, 40), kvHeads = drawInt(1, 3), heads = kvHeads * drawInt(1, 5);
  const int hidden = drawInt(1, 150), inner = drawInt(1, 200), vocabulary = drawInt(2, 300);
  // Sometimes single steps far from the prompt, so that their positions are read in several blocks and parts.
  const int prompt = drawInt(3, 20), steps = 3, far = drawInt(0, 1) ? drawInt(60, 700) : prompt, capacity = far + steps;
  const int window = drawInt(0, 1) ? drawInt(1, 6) : drawInt(0, 1) ? drawInt(60, 300) : 0;
  const bool coded = drawInt(0, 3) != 0, turned = drawInt(0, 1) != 0;
  const auto cache = static_cast<CacheKind>(drawInt(0, 3));
  Program program(std::make_shared<Pool>(threads), kernels);
  const int query = heads * headSize, kv = kvHeads * headSize;
  const int embedding = program.addWeight(drawInteger(program, vocabulary, hidden)), norm = program.addWeight(drawVector(program, hidden));
  const int wq = program.addWeight(drawW11(program, query, hidden)), wk = program.addWeight(drawW11(program, kv, hidden));
  const int wv = program.addWeight(drawW11(program, kv, hidden)), wo = program.addWeight(drawW11(program, hidden, query));
  const int wg = program.addWeight(drawInteger(program, inner, hidden)), wu = program.addWeight(drawInteger(program, inner, hidden));
  // Of the outer columns, which are taken out.
  const int wt = program.addWeight(drawInteger(program, hidden, 2));
  const auto dense = drawHalves(static_cast<size_t>(hidden) * inner);
  const int wd = program.addWeight(packDense(program.packer(), dense.data(), DenseKind::F16, hidden, inner));
  enum { TOKENS, RESIDUAL, NORMED, CODES, Q, K, V, ATTENDED, ATTENDED_CODES, GATE, UP, ACTIVATED, BRANCH, LOGITS, STATS, CROSS, ACTIVATED_CODES, DECODED, TURNED, ATTENDED_TURNED, ACTIVATED_TURNED, KEPT, TAKEN, PART };
  const auto f32 = [](int width) { return SlotSpec{SlotKind::F32, width}; };
  const std::vector<SlotSpec> slots = {
      {SlotKind::Tokens, 1}, f32(hidden), f32(hidden), {SlotKind::A4, hidden}, f32(query), f32(kv), f32(kv), f32(query),
      {SlotKind::A4, query}, f32(inner), f32(inner), f32(inner), f32(hidden), f32(vocabulary), {SlotKind::Stat, hidden * hidden},
      {SlotKind::Stat, hidden * hidden}, {SlotKind::A4, inner}, f32(inner),
      f32(hidden), f32(query), f32(inner), f32(query), f32(2), f32(hidden)};
  // What is quantized, or read as it is: rotated or not.
  const int normed = turned ? TURNED : NORMED, mixed = turned ? ATTENDED_TURNED : KEPT, active = turned ? ACTIVATED_TURNED : ACTIVATED;
  const int in = coded ? CODES : normed, attended = coded ? ATTENDED_CODES : mixed;
  const double h = headSize;
  std::vector<Operation> operations = {{Op::Embed, {TOKENS, RESIDUAL, -1, -1}, embedding, {}}};
  for (int layer = 0; layer < 2; ++layer) {
    const Operation block[] = {
        {Op::RmsNorm, {RESIDUAL, NORMED, -1, -1}, norm, {1e-5}},
        {Op::Rotate, {NORMED, TURNED, -1, -1}, -1, {}},
        {Op::Quantize, {normed, CODES, -1, -1}, -1, {0.9, 1}},
        {Op::W11MatMul, {in, Q, -1, -1}, wq, {}},
        {Op::W11MatMul, {in, K, -1, -1}, wk, {}},
        {Op::W11MatMul, {in, V, -1, -1}, wv, {}},
        {Op::Rope, {Q, -1, -1, -1}, -1, {static_cast<double>(heads), h}},
        {Op::Rope, {K, -1, -1, -1}, -1, {static_cast<double>(kvHeads), h}},
        {Op::Attention, {Q, K, V, ATTENDED}, -1,
         {static_cast<double>(layer), static_cast<double>(heads), static_cast<double>(kvHeads), h, static_cast<double>(window)}},
        {Op::TakeColumns, {ATTENDED, KEPT, TAKEN, -1}, -1, {0}},
        {Op::Rotate, {KEPT, ATTENDED_TURNED, -1, -1}, -1, {}},
        {Op::Quantize, {mixed, ATTENDED_CODES, -1, -1}, -1, {1, 1}},
        {Op::W11MatMul, {attended, BRANCH, -1, -1}, wo, {}},
        {Op::DenseMatMul, {TAKEN, PART, -1, -1}, wt, {}},
        {Op::Add, {PART, BRANCH, -1, -1}, -1, {}},
        {Op::Add, {BRANCH, RESIDUAL, -1, -1}, -1, {}},
        {Op::DenseMatMul, {RESIDUAL, GATE, -1, -1}, wg, {}},
        {Op::DenseMatMul, {RESIDUAL, UP, -1, -1}, wu, {}},
        {Op::SiluMul, {GATE, UP, ACTIVATED, -1}, -1, {}},
        {Op::Rotate, {ACTIVATED, ACTIVATED_TURNED, -1, -1}, -1, {}},
        {Op::Quantize, {active, ACTIVATED_CODES, -1, -1}, -1, {1, 1}},
        {Op::Decode, {ACTIVATED_CODES, DECODED, -1, -1}, -1, {}},
        {Op::DenseMatMul, {coded ? DECODED : active, BRANCH, -1, -1}, wd, {}},
        {Op::Add, {BRANCH, RESIDUAL, -1, -1}, -1, {}},
    };
    operations.insert(operations.end(), std::begin(block), std::end(block));
  }
  // Statistics of the last norm's results: all of an earlier one are read by the next products only.
  operations.push_back({Op::RmsNorm, {RESIDUAL, NORMED, -1, -1}, norm, {1e-5}});
  operations.push_back({Op::Gram, {NORMED, NORMED, STATS, -1}, -1, {}});
  operations.push_back({Op::Gram, {NORMED, RESIDUAL, CROSS, -1}, -1, {}});
  operations.push_back({Op::Logits, {NORMED, LOGITS, -1, -1}, embedding, {}});
  std::vector<double> frequencies;
  for (int i = 0; i < headSize / 2; ++i) frequencies.push_back(std::pow(10000.0, -2.0 * i / headSize));
  program.build(slots, operations, frequencies, {2, kvHeads, headSize, capacity, prompt, cache, 3}, {0, query - 1});
  std::vector<float> results;
  const auto run = [&](const std::vector<RunPart>& parts) {
    int rows = 0, logitRows = 0;
    for (const RunPart& part : parts) rows += part.rows, logitRows += part.logitRows;
    std::vector<int32_t> tokens(rows);
    for (int32_t& token : tokens) token = drawInt(0, vocabulary - 1);
    program.writeTokens(TOKENS, tokens.data(), rows);
    program.run(parts);
    const size_t at = results.size();
    results.resize(at + program.readSize(LOGITS, logitRows));
    program.read(LOGITS, logitRows, results.data() + at);
  };
  run({{0, 0, prompt, prompt}});
  run({{2, 0, prompt - 2, 1}, {0, prompt - 1, 1, 0}, {1, 0, 1, 1}});
  for (int step = 0; step < steps; ++step) {
    run({{0, far + step, 1, step == 1 ? 0 : 1}});
    run({{2, far + step, 1, 1}, {1, step + 1, 1, 1}});
  }
  const size_t at = results.size();
  const size_t sums = program.readSize(STATS, 0);
  results.resize(at + 2 * sums + query);
  program.read(STATS, 0, results.data() + at);
  program.read(CROSS, 0, results.data() + at + sums);
  program.read(ATTENDED_CODES, 1, results.data() + at + 2 * sums);
  return results;
}

/** Levels -1 and 1 (mu 0, alpha 1), rows of integers with lo 0 and step 1: sums to the last bit. */
bool checkExact(const Kernels& kernels) {
  const int rows = drawInt(1, 200), columns = drawInt(2, 600), group = 32 << drawInt(0, 3), count = drawInt(1, 7);
  const size_t stride = 4 * up(columns, 32), levels = rows * up(columns, group) * 2;
  const auto sign = drawBytes(rows * stride), bitmap = drawBytes(rows * stride);
  std::vector<uint8_t> alpha(2 * levels);
  for (size_t i = 0; i < levels; ++i) alpha[2 * i + 1] = 0x3c;
  Program program(std::make_shared<Pool>(2), kernels);
  const int w = program.addWeight(packW11(program.packer(), sign.data(), bitmap.data(), alpha.data(), nullptr, rows, columns, group));
  program.build({{SlotKind::F32, columns}, {SlotKind::A4, columns}, {SlotKind::F32, rows}},
                {{Op::Quantize, {0, 1, -1, -1}, -1, {1, 1}}, {Op::W11MatMul, {1, 2, -1, -1}, w, {}}}, {},
                {0, 1, 2, 1, count, CacheKind::F32});
  std::vector<float> x(static_cast<size_t>(count) * columns), y(static_cast<size_t>(count) * rows);
  for (float& value : x) value = static_cast<float>(drawInt(0, 15));
  for (int t = 0; t < count; ++t) {
    x[static_cast<size_t>(t) * columns] = 0;
    x[static_cast<size_t>(t) * columns + 1] = 15;
  }
  program.writeFloats(0, x.data(), x.size());
  program.run({{0, 0, count, 0}});
  program.read(2, count, y.data());
  for (int t = 0; t < count; ++t)
    for (int n = 0; n < rows; ++n) {
      int sum = 0;
      for (int k = 0; k < columns; ++k)
        sum += (sign[n * stride + k / 8] >> k % 8 & 1 ? 1 : -1) * static_cast<int>(x[static_cast<size_t>(t) * columns + k]);
      if (y[static_cast<size_t>(t) * rows + n] != static_cast<float>(sum)) {
        std::printf("row %d, output %d: %g, expected %d\n", t, n, static_cast<double>(y[static_cast<size_t>(t) * rows + n]), sum);
        return false;
      }
    }
  return true;
}

/** int8 or int4 weights of scale 1, rows of whole numbers that round to themselves: only sums over groups may round. */
bool checkInteger(const Kernels& kernels) {
  const bool nibbles = drawInt(0, 1) != 0;
  const int rows = drawInt(1, 100), columns = drawInt(1, 600), group = 32 << drawInt(0, 3), count = drawInt(1, 7);
  const int groups = static_cast<int>(up(columns, group)), perWord = nibbles ? 8 : 4;
  const size_t stride = 4 * up(columns, perWord);
  auto codes = drawBytes(rows * stride);
  std::vector<uint8_t> scales(2 * static_cast<size_t>(rows) * groups);
  for (size_t i = 0; i < scales.size() / 2; ++i) scales[2 * i + 1] = 0x3c;
  const auto weightAt = [&](int n, int k) {
    const uint8_t byte = codes[n * stride + (nibbles ? k / 2 : k)];
    return nibbles ? ((byte >> 4 * (k % 2) & 15) ^ 8) - 8 : static_cast<int8_t>(byte);
  };
  std::vector<float> x(static_cast<size_t>(count) * columns), y(static_cast<size_t>(count) * rows);
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<float>(i % columns % group == 0 ? (draw() % 2 ? 32767 : -32767) : drawInt(-32767, 32767));
  Program program(std::make_shared<Pool>(2), kernels);
  const int w = program.addWeight(packInteger(program.packer(), codes.data(), scales.data(), nibbles, rows, columns, group));
  program.build({{SlotKind::F32, columns}, {SlotKind::F32, rows}}, {{Op::DenseMatMul, {0, 1, -1, -1}, w, {}}}, {},
                {0, 1, 2, 1, count, CacheKind::F32});
  program.writeFloats(0, x.data(), x.size());
  program.run({{0, 0, count, 0}});
  program.read(1, count, y.data());
  for (int t = 0; t < count; ++t)
    for (int n = 0; n < rows; ++n) {
      double sum = 0, magnitude = 0;
      for (int k = 0; k < columns; ++k) {
        const double product = weightAt(n, k) * static_cast<double>(x[static_cast<size_t>(t) * columns + k]);
        sum += product;
        magnitude += std::fabs(product);
      }
      // A group's sum rounds once to f32 and once when it is added.
      const double got = static_cast<double>(y[static_cast<size_t>(t) * rows + n]), bound = magnitude * (groups + 1) * 0x1p-24;
      if (!(std::fabs(got - sum) <= bound)) {
        std::printf("int%d, row %d, output %d: %.0f, expected %.0f\n", nibbles ? 4 : 8, t, n, got, sum);
        return false;
      }
    }
  return true;
}

/** The transform of docs/format.md, "Input rotations", one value after the other; volatile, so that every sum rounds by itself. */
void transformPlainly(std::vector<float>& x, int from, int span) {
  for (int half = 1; half < span; half *= 2)
    for (int i = 0; i < span; ++i)
      if (i / half % 2 == 0) {
        volatile float sum = x[from + i] + x[from + i + half], difference = x[from + i] - x[from + i + half];
        x[from + i] = sum;
        x[from + i + half] = difference;
      }
  for (int i = 0; i < span; ++i) x[from + i] *= static_cast<float>(1 / std::sqrt(static_cast<double>(span)));
}

/** A rotation, to the last bit and the sign of zeros. */
bool checkRotation(const Kernels& kernels) {
  const int width = drawInt(1, drawInt(0, 1) ? 100 : 2100), count = drawInt(1, 3);
  int span = 1;
  while (2 * span <= width) span *= 2;
  const auto sign = [](int k) {
    int pairs = 0;
    for (; k > 0; k /= 2) pairs += k % 4 == 3;
    return pairs % 2 ? -1.0f : 1.0f;
  };
  std::vector<float> x(static_cast<size_t>(count) * width), y(x.size());
  for (float& value : x) value = static_cast<float>(drawInt(-1, 1)) * static_cast<float>(drawInt(0, 1) ? 1 : drawInt(1, 1 << 24)) / 1000;
  Program program(std::make_shared<Pool>(2), kernels);
  program.build({{SlotKind::F32, width}, {SlotKind::F32, width}}, {{Op::Rotate, {0, 1, -1, -1}, -1, {}}}, {}, {0, 1, 2, 1, count, CacheKind::F32});
  program.writeFloats(0, x.data(), x.size());
  program.run({{0, 0, count, 0}});
  program.read(1, count, y.data());
  for (int t = 0; t < count; ++t) {
    std::vector<float> row(x.begin() + t * width, x.begin() + (t + 1) * width);
    for (int k = 0; k < width; ++k) row[k] *= sign(k);
    transformPlainly(row, 0, span);
    for (int k = 0; span < width && k < width; ++k) row[k] *= sign(5 * k);
    if (span < width) transformPlainly(row, width - span, span);
    if (std::memcmp(row.data(), y.data() + t * width, sizeof(float) * width) != 0) {
      std::printf("row %d of width %d is rotated to other bits\n", t, width);
      return false;
    }
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 50;
  const uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  for (const std::string& name : knownInstructionSets()) {
    const Kernels* kernels = findKernels(name);
    if (!kernels) {
      std::printf("%s: not on this machine, skipped\n", name.c_str());
      continue;
    }
    size_t values = 0;
    for (int round = 0; round < rounds; ++round) {
      const uint64_t own = (seed + round) * 0x9e3779b97f4a7c15ull | 1;
      const std::vector<float> one = runModel(*kernels, 1, own);
      for (const int threads : {2, 5}) {
        const std::vector<float> many = runModel(*kernels, threads, own);
        if (many.size() != one.size() || std::memcmp(many.data(), one.data(), one.size() * 4) != 0) {
          std::printf("%s, round %d: %d threads give other bits than one\n", name.c_str(), round, threads);
          return 1;
        }
      }
      for (const float value : one)
        if (!std::isfinite(value)) {
          std::printf("%s, round %d: a result is not finite\n", name.c_str(), round);
          return 1;
        }
      values += one.size();
      state = own;
      if (!checkExact(*kernels) || !checkInteger(*kernels) || !checkRotation(*kernels)) return 1;
    }
    std::printf("%s: %d models on 1, 2 and 5 threads agree in %zu values; %d products of each kind, and rotations, exact\n", name.c_str(), rounds, values, rounds);
  }
  return 0;
}
