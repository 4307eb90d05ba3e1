// One operation many times over, so that its instructions can be counted (scripts/count-instructions.mjs). Prints how many
// weights, or values, one turn handles.
//
//   count <instruction set> <case> <turns>
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "../cpu.h"
#include "../program.h"

using namespace duobit;

namespace {

/** Which bytes does not matter: no kernel's path depends on them. */
std::vector<uint8_t> drawBytes(size_t count) {
  std::vector<uint8_t> bytes(count);
  uint32_t state = 1;
  for (uint8_t& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<uint8_t>(state >> 24);
  }
  return bytes;
}
/** f16 values of 0.0625. */
std::vector<uint8_t> makeLevels(size_t count) {
  std::vector<uint8_t> bytes(2 * count);
  for (size_t i = 0; i < count; ++i) bytes[2 * i + 1] = 0x2c;
  return bytes;
}

Weight makeW11(Program& program, int rows, int columns) {
  const int group = 128;
  const auto bits = drawBytes(static_cast<size_t>(rows) * 4 * ((columns + 31) / 32));
  const auto levels = makeLevels(static_cast<size_t>(rows) * 2 * ((columns + group - 1) / group));
  return packW11(program.packer(), bits.data(), bits.data(), levels.data(), levels.data(), rows, columns, group);
}
Weight makeInt8(Program& program, int rows, int columns) {
  const int group = 64;
  const auto codes = drawBytes(static_cast<size_t>(rows) * columns);
  const auto scales = makeLevels(static_cast<size_t>(rows) * columns / group);
  return packInteger(program.packer(), codes.data(), scales.data(), false, rows, columns, group);
}

struct Case {
  const char* name;
  Op op;
  SlotKind from, to;
  int rows, columns;
  /** Rows in a run. */
  int count = 1;
};
constexpr Case CASES[] = {
    {"w11-4096x4096", Op::W11MatMul, SlotKind::A4, SlotKind::F32, 4096, 4096},
    {"w11-1536x576", Op::W11MatMul, SlotKind::A4, SlotKind::F32, 1536, 576},
    {"int8-8192x576", Op::DenseMatMul, SlotKind::F32, SlotKind::F32, 8192, 576},
    {"quantize-4096", Op::Quantize, SlotKind::F32, SlotKind::A4, 1, 4096},
    {"rotate-576", Op::Rotate, SlotKind::F32, SlotKind::F32, 1, 576},
    {"rotate-1536", Op::Rotate, SlotKind::F32, SlotKind::F32, 1, 1536},
    {"gram-576", Op::Gram, SlotKind::F32, SlotKind::Stat, 576, 576, 256},
    {"attention-int8-256x576", Op::Attention, SlotKind::F32, SlotKind::F32, 256, 576},
};

/** One query row of heads of 64, three to a kv head, at the last of `rows` positions. */
void repeatAttention(const Kernels& kernels, const Case& c, int turns) {
  Program program(std::make_shared<Pool>(1), kernels);
  const int headSize = 64, heads = c.columns / headSize, kvHeads = heads / 3;
  const double numbers[] = {0, static_cast<double>(heads), static_cast<double>(kvHeads), headSize, 0};
  Operation operation{Op::Attention, {0, 1, 2, 3}, -1, {}};
  std::copy(numbers, numbers + 5, operation.numbers);
  const SlotSpec query{SlotKind::F32, c.columns}, cached{SlotKind::F32, kvHeads * headSize};
  program.build({query, cached, cached, query}, {operation}, {}, {1, kvHeads, headSize, c.rows, 1, CacheKind::Int8});
  for (int turn = 0; turn < turns; ++turn) program.run({{0, c.rows - 1, 1, 0}});
}

void repeat(const Kernels& kernels, const Case& c, int turns) {
  if (c.op == Op::Attention) return repeatAttention(kernels, c, turns);
  Program program(std::make_shared<Pool>(1), kernels);
  int weight = -1;
  if (c.op == Op::W11MatMul) weight = program.addWeight(makeW11(program, c.rows, c.columns));
  if (c.op == Op::DenseMatMul) weight = program.addWeight(makeInt8(program, c.rows, c.columns));
  const bool gram = c.op == Op::Gram;
  const Operation operation{c.op, {0, gram ? 0 : 1, gram ? 1 : -1, -1}, weight, {1, 1}};
  const int width = gram ? c.rows * c.columns : weight < 0 ? c.columns : c.rows;
  program.build({{c.from, c.columns}, {c.to, width}}, {operation}, {}, {0, 1, 2, 1, c.count, CacheKind::F32});
  if (c.from == SlotKind::F32) {
    std::vector<float> x;
    for (const uint8_t byte : drawBytes(static_cast<size_t>(c.columns) * c.count)) x.push_back(static_cast<float>(byte) / 128 - 1);
    program.writeFloats(0, x.data(), x.size());
  }
  for (int turn = 0; turn < turns; ++turn) program.run({{0, 0, c.count, 0}});
}

}  // namespace

int main(int argc, char** argv) {
  const Kernels* kernels = argc == 4 ? findKernels(argv[1]) : nullptr;
  for (const Case& c : CASES)
    if (kernels && c.name == std::string(argv[2])) {
      repeat(*kernels, c, std::atoi(argv[3]));
      std::printf("%d\n", c.rows * c.columns * c.count);
      return 0;
    }
  std::fprintf(stderr, "no such instruction set or case here\n");
  return 2;
}
