// Runs the steps of a program; see program.h.
#include "program.h"

#include <algorithm>
#include <cmath>

namespace duobit {

/** Shares that a thread's part of a phase is taken in. */
constexpr int SHARES = 16;
/** Bytes of the next phase's weights that a thread fetches while it waits: no more than a first-level cache. */
constexpr size_t FETCHED_AHEAD = 32768;
/** Of these, how many groups of 4 lines at once, before what the thread may have to do alone. */
constexpr int FETCHED_AT_ONCE = 24;

void Program::writeTokens(int slot, const int32_t* values, size_t count) {
  std::memcpy(slots_[slot].memory.as<int32_t>(), values, count * 4);
}

void Program::writeFloats(int slot, const float* values, size_t count) {
  const Slot& target = slots_[slot];
  for (size_t row = 0; row < count / target.width; ++row)
    std::memcpy(target.row(static_cast<int>(row)), values + row * target.width, sizeof(float) * target.width);
}

void Program::run(int rows, int position, int logitRows) { pool_->run(workOn, this, {rows, position, logitRows}); }

void Program::work(const RunTicket& ticket) {
  const Request request{ticket.values[0], ticket.values[1], ticket.values[2]};
  const size_t phases = phaseSteps_.size();
  // Phases of all runs in one sequence, with one number more for the end of a run.
  const uint64_t first = ticket.run * (phases + 1);
  for (size_t p = 0; p < phases;) {
    const PhaseSteps* const before = isOwn(p, request) ? &phaseSteps_[p++] : nullptr;
    const PhaseSteps* phase = &phaseSteps_[p];
    int count = countUnits(*phase, request), done = 0;
    for (int unit; (unit = dealer_.claim(first + p, count, ticket.thread)) >= 0; ++done) {
      if (done == 0) {
        // Only now: as long as the thread holds a unit, what these steps read stays as it is.
        if (before) runUnit(*before, request, 0, ticket.thread);
        fetchSteps(p + 1);
      }
      runUnit(*phase, request, unit, ticket.thread);
    }
    // The thread's next weights are on their way while it waits, or while it does alone what comes before them.
    const uint8_t* ahead = partOf(phase->nextProducts, ticket.thread);
    const uint8_t* const end = ahead ? ahead + FETCHED_AHEAD : nullptr;
    const auto fetch = [&] {
      for (int line = 0; line < 4 && ahead != end; ++line, ahead += 64) __builtin_prefetch(ahead);
    };
    for (int i = 0; i < FETCHED_AT_ONCE; ++i) fetch();
    if (done > 0 && dealer_.finish(first + p, done, count)) {
      // What only one thread can do is done at once, by the one that knows first.
      for (++p; p < phases; ++p) {
        phase = &phaseSteps_[p];
        count = countUnits(*phase, request);
        if (count > 1 || isOwn(p, request)) break;
        fetchSteps(p + 1);
        runUnit(*phase, request, 0, ticket.thread);
      }
      dealer_.open(first + p);
      continue;
    }
    dealer_.await(first + p, fetch);
    const uint64_t latest = dealer_.latest();
    if (latest >= first + phases) return;
    p = latest - first;
  }
}

/** Brings the descriptions of a phase's steps near. */
void Program::fetchSteps(size_t phase) const {
  if (phase >= phaseSteps_.size()) return;
  const char* const begin = reinterpret_cast<const char*>(&steps_[phaseSteps_[phase].first]);
  const char* const end = reinterpret_cast<const char*>(steps_.data() + phaseSteps_[phase].end);
  for (const char* at = begin; at < end; at += 64) __builtin_prefetch(at);
}

/** Where the weights begin that fall to a thread in a phase of products. */
const uint8_t* Program::partOf(size_t phase, int thread) const {
  if (phase >= phaseSteps_.size()) return nullptr;
  const PhaseSteps& products = phaseSteps_[phase];
  const int share = shareOf(products.total), count = (products.total + share - 1) / share;
  const int tile = dealer_.beginOf(thread, count) * share;
  for (size_t i = products.first; i < products.end; ++i) {
    const Step& step = steps_[i];
    if (tile - step.base >= step.units) continue;
    const size_t within = tile - step.base;
    switch (step.weight.kind) {
      case WeightKind::W11: return step.weight.w11.data + within * step.weight.w11.tileBytes;
      case WeightKind::Integer: return step.weight.integer.data + within * step.weight.integer.tileBytes;
      default: return nullptr;
    }
  }
  return nullptr;
}

/** Size of a share when `total` is to be dealt out: so many for each thread that a slow one holds little. */
int Program::shareOf(int total) const {
  const int threads = pool_->threads(), shares = threads == 1 ? 1 : SHARES * threads;
  return std::max(1, (total + shares - 1) / shares);
}

static int divideUp(int a, int b) { return (a + b - 1) / b; }

int Program::countUnits(const PhaseSteps& phase, const Request& request) const {
  const Step& step = steps_[phase.first];
  if (isByRow(step.kind)) return divideUp(request.rows, shareOf(request.rows));
  if (step.kind != Kind::Attention) return divideUp(phase.total, shareOf(phase.total));
  return divideUp(request.rows, ATTENTION_ROWS) * static_cast<int>(step.numbers[2]) * partsOf(step, request);
}

void Program::runUnit(const PhaseSteps& phase, const Request& request, int unit, int thread) {
  const Step& head = steps_[phase.first];
  if (head.kind == Kind::Attention) return runAttention(head, request, unit, thread);
  const bool byRow = isByRow(head.kind);
  const int total = byRow ? request.rows : phase.total, share = shareOf(total);
  const int first = unit * share, end = std::min(total, first + share);
  for (size_t i = phase.first; i < phase.end; ++i) {
    const Step& step = steps_[i];
    if (byRow) {
      runRows(step, request, std::max(first, step.logits ? request.rows - request.logitRows : 0), end, thread);
    } else if (isProduct(step.kind)) {
      runProduct(step, request, std::max(0, first - step.base), std::min(step.units, end - step.base), thread);
    } else {
      kernels_.gram({step.a->row(0), step.b->row(0), step.a->stride / 4, step.b->stride / 4, request.rows, step.a->width,
                     step.out->memory.as<double>(), scratch_[thread].as<float>()},
                    first, end);
    }
  }
}

/** x^ = lo + step * code, each step rounded to f32; entry 1 << j of a table is the code of its column j. */
static void decodeCodes(const CodedRows& codes, int row, int width, float* out) {
  const uint8_t* tables = codes.tables + row * codes.tableStride;
  const float lo = codes.params[2 * row], step = codes.params[2 * row + 1];
  for (int k = 0; k < width; ++k) {
    const float product = step * static_cast<float>(tables[(k >> 2) * 16 + (1 << (k & 3))]);
    out[k] = lo + product;
  }
}

void Program::runRows(const Step& step, const Request& request, int first, int end, int thread) {
  const int headSize = static_cast<int>(frequencies_.size()) * 2;
  const Slot* const a = find(step.a, step.ownA, request, thread);
  const Slot* const b = find(step.b, step.ownB, request, thread);
  const Slot* const out = find(step.out, step.ownOut, request, thread);
  for (int row = first; row < end; ++row) {
    switch (step.kind) {
      case Kind::Embed:
        decodeRow(kernels_, step.weight, a->memory.as<int32_t>()[row], out->row(row));
        break;
      case Kind::RmsNorm:
        kernels_.rmsNorm(a->row(row), step.weight.vector, out->row(row), a->width, static_cast<float>(step.numbers[0]));
        break;
      case Kind::Rotate: kernels_.rotate(*step.rotation, a->row(row), out->row(row)); break;
      case Kind::TakeColumns:
        for (int c = 0; c < step.columnCount; ++c) out->row(row)[c] = a->row(row)[step.columns[c]];
        break;
      case Kind::KeepColumns:
        std::memcpy(out->row(row), a->row(row), sizeof(float) * a->width);
        for (int c = 0; c < step.columnCount; ++c) out->row(row)[step.columns[c]] = 0;
        break;
      case Kind::Quantize: {
        const CodedRows codes = out->coded();
        kernels_.quantizeRow(a->row(row), a->width, static_cast<float>(step.numbers[0]),
                             static_cast<float>(step.numbers[1]), codes.tables + row * codes.tableStride,
                             codes.sums + row * codes.sumStride, codes.params + 2 * row);
        break;
      }
      case Kind::Decode: decodeCodes(a->coded(), row, a->width, out->row(row)); break;
      case Kind::RoundRows: {
        // The low bytes begin in the middle of the stride, whatever the width.
        kernels_.roundRow(a->row(row), a->width, step.weight.integer.groupSize,
                          rounded_.codes + row * rounded_.codeStride, rounded_.codeStride,
                          rounded_.scales + row * rounded_.groupStride, rounded_.sums + row * rounded_.groupStride);
        break;
      }
      case Kind::Rope:
        kernels_.rope(out->row(row), angles_.as<float>() + static_cast<size_t>(row) * headSize,
                      static_cast<int>(step.numbers[0]), static_cast<int>(step.numbers[1]));
        break;
      case Kind::CacheRows:
        kernels_.cacheRow(cache_.layer(static_cast<int>(step.numbers[0])), b->row(row), step.c->row(row),
                          request.position + row);
        break;
      case Kind::MergeAttention: {
        const int parts = partsOf(step, request);
        if (parts > 1)
          kernels_.mergeAttention(partStats_.as<float>(), partMixes_.as<float>(), parts,
                                  static_cast<int>(step.numbers[1]), static_cast<int>(step.numbers[3]), out->row(row));
        break;
      }
      case Kind::SiluMul:
        kernels_.siluMul(a->row(row), b->row(row), out->row(row), out->width);
        break;
      case Kind::Add: kernels_.add(a->row(row), out->row(row), out->width); break;
      case Kind::Angles: {
        float* table = angles_.as<float>() + static_cast<size_t>(row) * headSize;
        for (int i = 0; i < headSize / 2; ++i) {
          const double angle = (request.position + row) * frequencies_[i];
          table[i] = static_cast<float>(std::cos(angle));
          table[headSize / 2 + i] = static_cast<float>(std::sin(angle));
        }
        break;
      }
      default: break;
    }
  }
}

void Program::runProduct(const Step& step, const Request& request, int first, int end, int thread) {
  const int rows = step.logits ? request.logitRows : request.rows, skipped = request.rows - rows;
  if (first >= end || rows == 0) return;
  const Slot* const a = find(step.a, step.ownA, request, thread);
  float* out = step.out->row(0);
  const size_t outStride = step.out->stride / 4;
  switch (step.kind) {
    case Kind::W11Coded:
      kernels_.w11Coded(step.weight.w11, a->coded(), rows, first, end, out, outStride,
                        scratch_[thread].as<float>());
      break;
    case Kind::W11Float:
      kernels_.w11Float(step.weight.w11, a->row(0), a->stride / 4, rows, first, end, out, outStride,
                        scratch_[thread].as<float>());
      break;
    case Kind::Integer:
      kernels_.integer(step.weight.integer, rounded_, skipped, rows, first, end, out, outStride);
      break;
    default:
      kernels_.dense(step.weight.dense, a->row(skipped), a->stride / 4, rows, first, end, out, outStride);
  }
  if (!step.sum) return;
  const int begin = first * step.unitRows, count = std::min(step.out->width, end * step.unitRows) - begin;
  for (int row = 0; row < rows; ++row) kernels_.add(step.out->row(row) + begin, step.sum->row(row) + begin, count);
}

/** Where a row's visible positions begin. */
static int oldestSeen(int seen, int window) { return window > 0 && seen > window ? seen - window : 0; }

/**
 * Positions in a part of a single row's: no fewer than are worth a thread's while, in whole tiles of any width. The number of
 * parts is a power of two, so that they deal out evenly.
 */
static int partLength(int positions) {
  int parts = 1;
  while (parts < MOST_PARTS && positions >= 128 * parts) parts *= 2;
  return divideUp(divideUp(positions, parts), 16) * 16;
}

/**
 * Parts that the positions of a single row are split into, for threads to share; several rows share by rows instead. The
 * split depends on positions alone, so that any number of threads gives the same bits.
 */
int Program::partsOf(const Step& step, const Request& request) {
  if (request.rows > 1) return 1;
  const int seen = request.position + 1, begin = oldestSeen(seen, static_cast<int>(step.numbers[4])) / 16 * 16;
  return divideUp(seen - begin, partLength(seen - begin));
}

void Program::runAttention(const Step& step, const Request& request, int unit, int thread) {
  const int headCount = static_cast<int>(step.numbers[1]), kvHeads = static_cast<int>(step.numbers[2]);
  const int headSize = static_cast<int>(step.numbers[3]), parts = partsOf(step, request), part = unit % parts;
  const int row = unit / (parts * kvHeads) * ATTENTION_ROWS;
  AttentionTask task{};
  task.cache = &cache_.layer(static_cast<int>(step.numbers[0]));
  task.kvHead = unit / parts % kvHeads;
  task.count = headCount / kvHeads;
  task.rows = std::min(ATTENTION_ROWS, request.rows - row);
  task.position = request.position + row;
  task.window = static_cast<int>(step.numbers[4]);
  task.first = oldestSeen(task.position + 1, task.window);
  task.end = task.position + task.rows;
  task.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(headSize)));
  task.scratch = scratch_[thread].as<float>();
  const size_t head = static_cast<size_t>(task.kvHead) * task.count * headSize;
  task.queries = step.a->row(row) + head;
  task.queryStride = step.a->stride / 4;
  task.outs = step.out->row(row) + head;
  task.outStride = step.out->stride / 4;
  if (parts > 1) {
    const int begin = task.first / 16 * 16, length = partLength(task.end - begin);
    const size_t at = static_cast<size_t>(part) * headCount + static_cast<size_t>(task.kvHead) * task.count;
    task.end = std::min(task.end, begin + (part + 1) * length);
    task.first = std::max(task.first, begin + part * length);
    task.stats = partStats_.as<float>() + 2 * at;
    task.outs = partMixes_.as<float>() + at * headSize;
  }
  kernels_.attention(task);
}

size_t Program::readSize(int slot, int rows) const {
  const Slot& from = slots_[slot];
  return from.kind == SlotKind::Stat ? from.width : static_cast<size_t>(rows) * from.width;
}

void Program::read(int slot, int rows, float* out) const {
  const Slot& from = slots_[slot];
  if (from.kind == SlotKind::Stat) {
    for (int k = 0; k < from.width; ++k) out[k] = static_cast<float>(from.memory.as<double>()[k]);
    return;
  }
  for (int row = 0; row < rows; ++row, out += from.width) {
    if (from.kind == SlotKind::F32) std::memcpy(out, from.row(row), sizeof(float) * from.width);
    else if (from.kind == SlotKind::Tokens) *out = static_cast<float>(from.memory.as<int32_t>()[row]);
    else decodeCodes(from.coded(), row, from.width, out);
  }
}

}  // namespace duobit
