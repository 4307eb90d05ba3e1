// The training kernels without Node, for sanitizers and emulators: every operation at random sizes, on every instruction set and
// several numbers of threads. Every number of threads must give the same bits; products of whole numbers, rotations, activations and
// levels must be exact on every set; the rest must be near what the scalar set gives. That the scalar set is right, and how
// near the others must be, is the business of src/native/training.test.ts.
//
//   training [rounds] [seed]
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "../cpu.h"
#include "../trainer.h"

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

using Values = std::vector<float>;

Values drawValues(size_t count, float scale = 1) {
  Values values(count);
  for (float& value : values) value = scale * (static_cast<float>(draw() % 2001) - 1000) / 1000;
  return values;
}
/** Whole numbers from -8 to 8. */
Values drawWhole(size_t count) {
  Values values(count);
  for (float& value : values) value = static_cast<float>(drawInt(-8, 8));
  return values;
}
Values blank(size_t count) { return Values(count, std::nanf("")); }

struct Results {
  /** The same on every set. */
  Values exact;
  /** The same within rounding. */
  Values near;
  void keep(Values& into, const Values& values) { into.insert(into.end(), values.begin(), values.end()); }
};

void runProducts(Trainer& trainer, Results& results) {
  const int m = drawInt(1, 300), n = drawInt(1, 150), k = drawInt(1, 700);
  for (const bool a : {false, true})
    for (const bool b : {false, true}) {
      const Values left = drawWhole(static_cast<size_t>(m) * k), right = drawWhole(static_cast<size_t>(k) * n);
      Values out = blank(static_cast<size_t>(m) * n);
      trainer.multiply(left.data(), right.data(), out.data(), m, n, k, a, b);
      results.keep(results.exact, out);
    }
}

void runAttention(Trainer& trainer, Results& results) {
  AttentionShape s{};
  s.windows = drawInt(1, 3);
  s.tokens = drawInt(1, 150);
  s.kvHeadCount = drawInt(1, 3);
  s.headCount = s.kvHeadCount * drawInt(1, 3);
  s.headSize = drawInt(1, 70);
  s.span = drawInt(0, 1) ? s.tokens : drawInt(1, s.tokens);
  const size_t rows = static_cast<size_t>(s.windows) * s.tokens, wide = rows * s.headCount * s.headSize, narrow = rows * s.kvHeadCount * s.headSize;
  const Values q = drawValues(wide), k = drawValues(narrow), v = drawValues(narrow), d = drawValues(wide);
  Values out = blank(wide), sums = blank(rows * s.headCount), dQ = blank(wide), dK = blank(narrow), dV = blank(narrow);
  trainer.attend({s, q.data(), k.data(), v.data(), out.data(), sums.data()});
  trainer.attendBack({s, q.data(), k.data(), v.data(), out.data(), sums.data(), d.data(), dQ.data(), dK.data(), dV.data()});
  for (const Values* const values : {&out, &sums, &dQ, &dK, &dV}) results.keep(results.near, *values);
}

void runRows(Trainer& trainer, Results& results) {
  const int rows = drawInt(1, 150), width = drawInt(1, 300);
  const size_t count = static_cast<size_t>(rows) * width;
  const Values x = drawValues(count, 3), weight = drawValues(width), d = drawValues(count);
  Values out = blank(count), dX = blank(count), dWeight = blank(width);
  trainer.norm(x.data(), weight.data(), 1e-5f, out.data(), rows, width);
  trainer.normBack(x.data(), weight.data(), 1e-5f, d.data(), dX.data(), dWeight.data(), rows, width);
  for (const Values* const values : {&out, &dX, &dWeight}) results.keep(results.near, *values);
  trainer.gate(x.data(), d.data(), out.data(), count);
  results.keep(results.near, out);
  Values dGate = blank(count), dUp = blank(count);
  trainer.gateBack(x.data(), d.data(), x.data(), dGate.data(), dUp.data(), count);
  results.keep(results.near, dGate);
  results.keep(results.near, dUp);
  trainer.add(x.data(), d.data(), out.data(), count);
  results.keep(results.exact, out);
  trainer.rotate(x.data(), rows, width, false, out.data());
  results.keep(results.exact, out);
  trainer.rotate(x.data(), rows, width, true, out.data());
  results.keep(results.exact, out);
  const float clips[] = {0.9f, 0.8f};
  trainer.quantize(x.data(), rows, width, clips, out.data());
  results.keep(results.exact, out);
  Values dClips = blank(2);
  trainer.quantizeBack(x.data(), rows, width, clips, d.data(), dX.data(), dClips.data());
  results.keep(results.exact, dX);
  results.keep(results.near, dClips);
  const int group = 32 << drawInt(0, 3), groups = (width + group - 1) / group;
  const Values levels = drawValues(static_cast<size_t>(rows) * groups * 4, 2);
  Values dLevels = blank(levels.size());
  trainer.nearest(x.data(), levels.data(), rows, width, group, out.data());
  results.keep(results.exact, out);
  trainer.nearestBack(x.data(), levels.data(), rows, width, group, d.data(), dLevels.data());
  results.keep(results.near, dLevels);
  Values losses = blank(rows);
  trainer.distill(x.data(), d.data(), rows, width, losses.data());
  results.keep(results.near, losses);
  trainer.distillBack(x.data(), d.data(), rows, width, losses.data(), dX.data());
  results.keep(results.near, dX);
}

void runSteps(Trainer& trainer, Results& results) {
  const int windows = drawInt(1, 3), tokens = drawInt(1, 40), heads = drawInt(1, 4), half = drawInt(1, 40);
  const size_t count = static_cast<size_t>(windows) * tokens * heads * 2 * half;
  std::vector<double> frequencies(half);
  for (int i = 0; i < half; ++i) frequencies[i] = std::pow(10000.0, -static_cast<double>(i) / half);
  const Values x = drawValues(count);
  Values out = blank(count);
  trainer.turn(x.data(), heads, frequencies.data(), half, windows, tokens, drawInt(0, 1) != 0, out.data());
  results.keep(results.near, out);
  Values parameter = drawValues(count), mean = drawValues(count), square = drawValues(count);
  for (float& value : square) value *= value;
  trainer.adam(parameter.data(), x.data(), mean.data(), square.data(), count, {0.9f, 0.95f, 1e-8f, 0.5f, 0.1f, 0.05f, 1e-3f, 1.5f});
  for (const Values* const values : {&parameter, &mean, &square}) results.keep(results.near, *values);
  results.near.push_back(static_cast<float>(trainer.sumOfSquares(x.data(), count)));
}

Results runAll(const TrainingTable& table, int threads, uint64_t seed) {
  state = seed;
  Trainer trainer(threads, table);
  Results results;
  runProducts(trainer, results);
  runAttention(trainer, results);
  runRows(trainer, results);
  runSteps(trainer, results);
  return results;
}

bool same(const Values& a, const Values& b) { return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0; }

/** Largest difference, as a part of the larger number or of 1. */
double distance(const Values& a, const Values& b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    const double difference = std::fabs(x - y) / std::fmax(1, std::fabs(y));
    if (!(difference <= most)) most = difference;
  }
  return most;
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 20;
  const uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  // Sums of a few hundred numbers of the size of 1 in another order.
  const double near = 1e-4;
  for (const std::string& name : knownInstructionSets()) {
    const TrainingTable* table = findTraining(name);
    if (!table) {
      std::printf("%s: not on this machine, skipped\n", name.c_str());
      continue;
    }
    double most = 0;
    for (int round = 0; round < rounds; ++round) {
      const uint64_t own = (seed + round) * 0x9e3779b97f4a7c15ull | 1;
      const Results one = runAll(*table, 1, own), scalar = runAll(*scalarTraining(), 1, own);
      for (const int threads : {2, 5}) {
        const Results many = runAll(*table, threads, own);
        if (!same(one.exact, many.exact) || !same(one.near, many.near)) {
          std::printf("%s, round %d: %d threads give other bits than one\n", name.c_str(), round, threads);
          return 1;
        }
      }
      if (!same(one.exact, scalar.exact)) {
        std::printf("%s, round %d: exact results differ from scalar ones\n", name.c_str(), round);
        return 1;
      }
      most = std::fmax(most, distance(one.near, scalar.near));
      if (!(most <= near)) {
        std::printf("%s, round %d: off by %g\n", name.c_str(), round, most);
        return 1;
      }
    }
    std::printf("%s: %d rounds of training kernels on 1, 2 and 5 threads agree, off the scalar ones by %.1g at most\n", name.c_str(), rounds, most);
  }
  return 0;
}
