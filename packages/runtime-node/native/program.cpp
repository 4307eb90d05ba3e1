// Compiles operations to steps and runs them; see program.h.
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
/** Most parts that a single row's positions are split into. */
constexpr int MOST_PARTS = 8;

static size_t roundUp(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

int Program::addWeight(const Weight& weight) {
  weights_.push_back(weight);
  return static_cast<int>(weights_.size()) - 1;
}

void Program::build(const std::vector<SlotSpec>& specs, const std::vector<Operation>& operations,
                    std::vector<double> frequencies, Geometry geometry) {
  geometry_ = geometry;
  frequencies_ = std::move(frequencies);
  const size_t rows = geometry.maxRows, lanes = kernels_.vectorWidth;
  for (const SlotSpec& spec : specs) {
    Slot slot{spec.kind, spec.width, 0, {}, {}, {}, 0};
    const size_t width = spec.width;
    switch (spec.kind) {
      case SlotKind::Tokens: slot.stride = 4; break;
      case SlotKind::F32: slot.stride = roundUp(width, 16) * 4; break;
      case SlotKind::Stat: slot.stride = width * 8; break;
      case SlotKind::A4:
        slot.stride = roundUp(width, 16) * 4;
        slot.sumStride = roundUp(width, 32) / 32;
        slot.sums = Memory(rows * slot.sumStride * 2);
        slot.params = Memory(rows * 8);
        break;
    }
    slot.memory = Memory(slot.stride * (spec.kind == SlotKind::Stat ? 1 : rows));
    slots_.push_back(std::move(slot));
  }
  cache_ = KvCache(geometry.cache, geometry.cacheLayers, geometry.kvHeadCount, geometry.headSize, geometry.capacity,
                   kernels_.vectorWidth);
  if (std::any_of(operations.begin(), operations.end(), [](const Operation& o) { return o.op == Op::Rope; })) {
    angles_ = Memory(rows * frequencies_.size() * 2 * sizeof(float));
    Step step{};
    step.kind = Kind::Angles;
    steps_.push_back(step);
  }
  for (const Operation& operation : operations) addSteps(operation);
  size_t codeStride = 0, groups = 0;
  for (const auto& weight : weights_)
    if (weight.kind == WeightKind::Integer) {
      codeStride = std::max(codeStride, roundUp(weight.columns, 32) * 2);
      groups = std::max(groups, static_cast<size_t>(weight.integer.groups));
    }
  if (codeStride > 0) {
    codes_ = Memory(rows * codeStride);
    scales_ = Memory(rows * groups * 4);
    codeSums_ = Memory(rows * groups * 4);
    rounded_ = {codes_.as<uint8_t>(), codeStride, scales_.as<float>(), codeSums_.as<int32_t>(), groups};
  }
  size_t scratch = 4 * lanes * 256, heads = 0;
  for (const Step& step : steps_)
    if (step.kind == Kind::Attention) {
      heads = std::max(heads, static_cast<size_t>(step.numbers[1]));
      scratch = std::max(scratch, attentionScratch(geometry.headSize, static_cast<size_t>(step.numbers[1] / step.numbers[2])));
    }
  partStats_ = Memory(MOST_PARTS * heads * 2 * sizeof(float));
  partMixes_ = Memory(MOST_PARTS * heads * geometry.headSize * sizeof(float));
  for (int thread = 0; thread < pool_->threads(); ++thread) scratch_.emplace_back(scratch * sizeof(float));
  arrange();
}

void Program::addSteps(const Operation& o) {
  Step step{};
  std::copy(o.numbers, o.numbers + 5, step.numbers);
  const auto slot = [&](int i) { return o.slots[i] < 0 ? nullptr : &slots_[o.slots[i]]; };
  step.a = slot(0);
  if (o.weight >= 0) step.weight = weights_[o.weight];
  switch (o.op) {
    case Op::Embed: step.kind = Kind::Embed; step.out = slot(1); break;
    case Op::RmsNorm: step.kind = Kind::RmsNorm; step.out = slot(1); break;
    case Op::Quantize: step.kind = Kind::Quantize; step.out = slot(1); break;
    case Op::Rope: step.kind = Kind::Rope; step.out = slot(0); break;
    case Op::SiluMul: step.kind = Kind::SiluMul; step.b = slot(1); step.out = slot(2); break;
    case Op::Add: step.kind = Kind::Add; step.out = slot(1); break;
    case Op::Squares:
      step.kind = Kind::Squares;
      step.out = slot(1);
      step.units = step.out->width;
      break;
    case Op::Attention:
      step.kind = Kind::CacheRows;
      step.b = slot(1);
      step.c = slot(2);
      steps_.push_back(step);
      step.kind = Kind::Attention;
      step.out = slot(3);
      steps_.push_back(step);
      step.kind = Kind::MergeAttention;
      break;
    case Op::W11MatMul: case Op::DenseMatMul: case Op::Logits: return addProduct(step, o);
  }
  steps_.push_back(step);
}

void Program::addProduct(Step step, const Operation& o) {
  step.out = &slots_[o.slots[1]];
  step.logits = o.op == Op::Logits;
  switch (step.weight.kind) {
    case WeightKind::W11:
      step.kind = step.a->kind == SlotKind::A4 ? Kind::W11Coded : Kind::W11Float;
      step.units = step.weight.w11.tiles;
      break;
    case WeightKind::Integer: {
      step.kind = Kind::Integer;
      step.units = step.weight.integer.tiles;
      // Several products of one input in a row round it once.
      const Step* last = steps_.empty() ? nullptr : &steps_.back();
      const bool rounded = last && last->kind == Kind::Integer && last->a == step.a && last->out != step.a &&
                           last->logits == step.logits &&
                           last->weight.integer.groupSize == step.weight.integer.groupSize;
      if (!rounded) {
        Step round = step;
        round.kind = Kind::RoundRows;
        round.out = nullptr;
        steps_.push_back(round);
      }
      break;
    }
    default:
      step.kind = Kind::Dense;
      step.units = step.weight.dense.panels;
  }
  steps_.push_back(step);
}

/** Parts the steps into phases. Row-by-row steps share one: a row stays with the thread that took it. */
void Program::arrange() {
  for (size_t i = 0; i < steps_.size(); ++i) {
    Step& step = steps_[i];
    PhaseSteps* phase = phaseSteps_.empty() ? nullptr : &phaseSteps_.back();
    bool joins = false;
    if (phase && isByRow(step.kind)) joins = isByRow(steps_[phase->first].kind);
    if (phase && isProduct(step.kind)) {
      joins = isProduct(steps_[phase->first].kind);
      for (size_t j = phase->first; joins && j < i; ++j)
        joins = steps_[j].out != step.out && steps_[j].out != step.a && steps_[j].a != step.out &&
                steps_[j].logits == step.logits;
    }
    if (!joins) {
      phaseSteps_.push_back({i, i, 0, 0});
      phase = &phaseSteps_.back();
    }
    phase->end = i + 1;
    step.base = phase->total;
    phase->total += step.units;
  }
  size_t next = phaseSteps_.size();
  for (size_t p = phaseSteps_.size(); p-- > 0;) {
    phaseSteps_[p].nextProducts = next;
    if (isProduct(steps_[phaseSteps_[p].first].kind)) next = p;
  }
}

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
    const PhaseSteps* phase = &phaseSteps_[p];
    int count = countUnits(*phase, request), done = 0;
    for (int unit; (unit = dealer_.claim(first + p, count, ticket.thread)) >= 0; ++done) {
      if (done == 0) fetchSteps(p + 1);
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
        if (count > 1) break;
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
      runRows(step, request, std::max(first, step.logits ? request.rows - request.logitRows : 0), end);
    } else if (isProduct(step.kind)) {
      runProduct(step, request, std::max(0, first - step.base), std::min(step.units, end - step.base), thread);
    } else {
      kernels_.squares(step.a->row(0), step.a->stride / 4, request.rows, first, end, step.out->memory.as<double>());
    }
  }
}

void Program::runRows(const Step& step, const Request& request, int first, int end) {
  const int headSize = static_cast<int>(frequencies_.size()) * 2;
  for (int row = first; row < end; ++row) {
    switch (step.kind) {
      case Kind::Embed:
        decodeRow(kernels_, step.weight, step.a->memory.as<int32_t>()[row], step.out->row(row));
        break;
      case Kind::RmsNorm:
        kernels_.rmsNorm(step.a->row(row), step.weight.vector, step.out->row(row), step.a->width,
                         static_cast<float>(step.numbers[0]));
        break;
      case Kind::Quantize: {
        const CodedRows out = step.out->coded();
        kernels_.quantizeRow(step.a->row(row), step.a->width, static_cast<float>(step.numbers[0]),
                             static_cast<float>(step.numbers[1]), out.tables + row * out.tableStride,
                             out.sums + row * out.sumStride, out.params + 2 * row);
        break;
      }
      case Kind::RoundRows: {
        // The low bytes begin in the middle of the stride, whatever the width.
        kernels_.roundRow(step.a->row(row), step.a->width, step.weight.integer.groupSize,
                          rounded_.codes + row * rounded_.codeStride, rounded_.codeStride,
                          rounded_.scales + row * rounded_.groupStride, rounded_.sums + row * rounded_.groupStride);
        break;
      }
      case Kind::Rope:
        kernels_.rope(step.out->row(row), angles_.as<float>() + static_cast<size_t>(row) * headSize,
                      static_cast<int>(step.numbers[0]), static_cast<int>(step.numbers[1]));
        break;
      case Kind::CacheRows:
        kernels_.cacheRow(cache_.layer(static_cast<int>(step.numbers[0])), step.b->row(row), step.c->row(row),
                          request.position + row);
        break;
      case Kind::MergeAttention: {
        const int parts = partsOf(step, request);
        if (parts > 1)
          kernels_.mergeAttention(partStats_.as<float>(), partMixes_.as<float>(), parts,
                                  static_cast<int>(step.numbers[1]), static_cast<int>(step.numbers[3]), step.out->row(row));
        break;
      }
      case Kind::SiluMul:
        kernels_.siluMul(step.a->row(row), step.b->row(row), step.out->row(row), step.out->width);
        break;
      case Kind::Add: kernels_.add(step.a->row(row), step.out->row(row), step.out->width); break;
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
  float* out = step.out->row(0);
  const size_t outStride = step.out->stride / 4;
  switch (step.kind) {
    case Kind::W11Coded:
      kernels_.w11Coded(step.weight.w11, step.a->coded(), rows, first, end, out, outStride,
                        scratch_[thread].as<float>());
      break;
    case Kind::W11Float:
      kernels_.w11Float(step.weight.w11, step.a->row(0), step.a->stride / 4, rows, first, end, out, outStride,
                        scratch_[thread].as<float>());
      break;
    case Kind::Integer:
      kernels_.integer(step.weight.integer, rounded_, skipped, rows, first, end, out, outStride);
      break;
    default:
      kernels_.dense(step.weight.dense, step.a->row(skipped), step.a->stride / 4, rows, first, end, out, outStride);
  }
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
    else {
      // x^ = lo + step * code, each step rounded to f32; entry 1 << j of a table is the code of its column j.
      const uint8_t* tables = from.memory.as<uint8_t>(row * from.stride);
      const float *params = from.params.as<float>() + 2 * row, lo = params[0], step = params[1];
      for (int k = 0; k < from.width; ++k) {
        const float product = step * static_cast<float>(tables[(k >> 2) * 16 + (1 << (k & 3))]);
        out[k] = lo + product;
      }
    }
  }
}

}  // namespace duobit
