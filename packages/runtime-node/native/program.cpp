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

void Program::run(const std::vector<RunPart>& parts) {
  places_.clear(), groups_.clear(), wanted_.clear();
  int longest = 0;
  for (const RunPart& part : parts) {
    const int first = static_cast<int>(places_.size()), end = first + part.rows;
    for (int row = first; row < end; ++row) places_.push_back({part.sequence, part.position + row - first});
    for (int row = first; row < end; row += ATTENTION_ROWS) groups_.push_back({row, std::min(ATTENTION_ROWS, end - row)});
    longest = std::max(longest, part.position + part.rows);
    if (part.logitRows == 0) continue;
    const bool joins = !wanted_.empty() && wanted_.back().first + wanted_.back().count == end - part.logitRows;
    if (joins) wanted_.back().count += part.logitRows;
    else wanted_.push_back({end - part.logitRows, part.logitRows});
  }
  const int rows = static_cast<int>(places_.size()), groups = static_cast<int>(groups_.size());
  // A few single rows of long texts are too few units for many threads.
  const bool splits = rows == groups && rows <= MOST_SPLIT_ROWS && rows * geometry_.kvHeadCount < 4 * pool_->threads();
  pool_->run(workOn, this, {rows, places_[0].position, groups, splits ? mostParts(longest) : 1});
}

void Program::work(const RunTicket& ticket) {
  const Request request{ticket.values[0], ticket.values[1], ticket.values[2], ticket.values[3]};
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
  return request.groups * static_cast<int>(step.numbers[2]) * splitsOf(step, request);
}

void Program::runUnit(const PhaseSteps& phase, const Request& request, int unit, int thread) {
  const Step& head = steps_[phase.first];
  if (head.kind == Kind::Attention) return runAttention(head, request, unit, thread);
  const bool byRow = isByRow(head.kind);
  const int total = byRow ? request.rows : phase.total, share = shareOf(total);
  const int first = unit * share, end = std::min(total, first + share);
  for (size_t i = phase.first; i < phase.end; ++i) {
    const Step& step = steps_[i];
    if (byRow && !step.logits) {
      runRows(step, request, first, end, thread);
    } else if (byRow) {
      for (const RowRange& range : wanted_)
        runRows(step, request, std::max(first, range.first), std::min(end, range.first + range.count), thread);
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
        kernels_.cacheRow(cache_.layer(places_[row].sequence, static_cast<int>(step.numbers[0])), b->row(row),
                          step.c->row(row), places_[row].position);
        break;
      case Kind::MergeAttention:
        if (splitsOf(step, request) > 1) mergeParts(step, row, out->row(row));
        break;
      case Kind::SiluMul:
        kernels_.siluMul(a->row(row), b->row(row), out->row(row), out->width);
        break;
      case Kind::Add: kernels_.add(a->row(row), out->row(row), out->width); break;
      case Kind::Angles: {
        float* table = angles_.as<float>() + static_cast<size_t>(row) * headSize;
        for (int i = 0; i < headSize / 2; ++i) {
          const double angle = places_[row].position * frequencies_[i];
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
  if (first >= end) return;
  const Slot* const a = find(step.a, step.ownA, request, thread);
  const size_t outStride = step.out->stride / 4;
  const auto multiply = [&](const RowRange& range, float* out) {
    const int rows = range.count;
    switch (step.kind) {
      case Kind::W11Coded:
        kernels_.w11Coded(step.weight.w11, a->coded(), rows, first, end, out, outStride, scratch_[thread].as<float>());
        break;
      case Kind::W11Float:
        kernels_.w11Float(step.weight.w11, a->row(0), a->stride / 4, rows, first, end, out, outStride,
                          scratch_[thread].as<float>());
        break;
      case Kind::Integer:
        kernels_.integer(step.weight.integer, rounded_, range.first, rows, first, end, out, outStride);
        break;
      default:
        kernels_.dense(step.weight.dense, a->row(range.first), a->stride / 4, rows, first, end, out, outStride);
    }
  };
  if (step.logits) {
    int done = 0;
    for (const RowRange& range : wanted_) {
      multiply(range, step.out->row(done));
      done += range.count;
    }
    return;
  }
  const int rows = request.rows;
  multiply({0, rows}, step.out->row(0));
  if (!step.sum) return;
  const int begin = first * step.unitRows, count = std::min(step.out->width, end * step.unitRows) - begin;
  for (int row = 0; row < rows; ++row) kernels_.add(step.out->row(row) + begin, step.sum->row(row) + begin, count);
}

/** Parts that the positions of a row are taken in, which threads may share. */
int Program::partsOf(const Step& step, int position) {
  const int positions = position + 1 - oldestSeen(position + 1, static_cast<int>(step.numbers[4])) / 16 * 16;
  return divideUp(positions, partLength(positions));
}

/** Units that each group's positions go to: of one row its parts, of several the most that one can have. */
int Program::splitsOf(const Step& step, const Request& request) const {
  return request.splits > 1 && request.rows == 1 ? partsOf(step, request.position) : request.splits;
}

void Program::runAttention(const Step& step, const Request& request, int unit, int thread) {
  const int headCount = static_cast<int>(step.numbers[1]), kvHeads = static_cast<int>(step.numbers[2]);
  const int headSize = static_cast<int>(step.numbers[3]), splits = splitsOf(step, request), part = unit % splits;
  const RowRange& group = groups_[unit / (splits * kvHeads)];
  const int row = group.first;
  AttentionTask task{};
  task.cache = &cache_.layer(places_[row].sequence, static_cast<int>(step.numbers[0]));
  task.kvHead = unit / splits % kvHeads;
  task.count = headCount / kvHeads;
  task.rows = group.count;
  task.position = places_[row].position;
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
  if (splits > 1) {
    const int parts = partsOf(step, task.position);
    if (part >= parts) return;
    if (parts > 1) {
      const int begin = task.first / 16 * 16, length = partLength(task.end - begin);
      const size_t at = (static_cast<size_t>(row) * MOST_PARTS + part) * headCount + static_cast<size_t>(task.kvHead) * task.count;
      task.end = std::min(task.end, begin + (part + 1) * length);
      task.first = std::max(task.first, begin + part * length);
      task.stats = partStats_.as<float>() + 2 * at;
      task.outs = partMixes_.as<float>() + at * headSize;
    }
  }
  kernels_.attention(task);
}

/** What threads have shared of a row's positions. */
void Program::mergeParts(const Step& step, int row, float* out) {
  const int headCount = static_cast<int>(step.numbers[1]), headSize = static_cast<int>(step.numbers[3]);
  const int parts = partsOf(step, places_[row].position);
  const size_t at = static_cast<size_t>(row) * MOST_PARTS * headCount;
  if (parts > 1)
    kernels_.mergeAttention(partStats_.as<float>() + 2 * at, partMixes_.as<float>() + at * headSize, parts, headCount, headSize, out);
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

std::pair<int, float> Program::readBest(int slot, int row) const {
  const float* const values = slots_[slot].row(row);
  const int index = kernels_.largest(values, slots_[slot].width);
  return {index, values[index]};
}

}  // namespace duobit
