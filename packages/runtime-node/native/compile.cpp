// Compiles operations to steps and parts them into phases; see program.h.
#include <algorithm>

#include "program.h"

namespace duobit {

static size_t roundUp(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

int Program::addWeight(const Weight& weight) {
  weights_.push_back(weight);
  return static_cast<int>(weights_.size()) - 1;
}

Program::Slot Program::makeSlot(SlotKind kind, int width, size_t rows) {
  Slot slot{kind, width, 0, {}, {}, {}, 0, {}};
  switch (kind) {
    case SlotKind::Tokens: slot.stride = 4; break;
    case SlotKind::F32: slot.stride = roundUp(width, 16) * 4; break;
    case SlotKind::Stat:
      slot.stride = static_cast<size_t>(width) * 8;
      rows = 1;
      break;
    case SlotKind::A4:
      slot.stride = roundUp(width, 16) * 4;
      slot.sumStride = roundUp(width, 32) / 32;
      slot.sums = Memory(rows * slot.sumStride * 2);
      slot.params = Memory(rows * 8);
      break;
  }
  slot.memory = Memory(slot.stride * rows);
  return slot;
}

void Program::build(const std::vector<SlotSpec>& specs, const std::vector<Operation>& operations,
                    std::vector<double> frequencies, Geometry geometry, std::vector<int32_t> columns) {
  geometry_ = geometry;
  columns_ = std::move(columns);
  frequencies_ = std::move(frequencies);
  const size_t rows = geometry.maxRows, lanes = kernels_.vectorWidth;
  for (const SlotSpec& spec : specs) slots_.push_back(makeSlot(spec.kind, spec.width, rows));
  cache_ = KvCache(geometry.cache, geometry.sequences, geometry.cacheLayers, geometry.kvHeadCount, geometry.headSize,
                   geometry.capacity, kernels_.vectorWidth);
  places_.reserve(rows), groups_.reserve(rows), wanted_.reserve(rows);
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
  for (const Step& step : steps_) {
    if (step.kind == Kind::Gram) scratch = std::max(scratch, gramScratch(lanes));
    if (step.kind == Kind::Attention) {
      heads = std::max(heads, static_cast<size_t>(step.numbers[1]));
      scratch = std::max(scratch, attentionScratch(geometry.headSize, static_cast<size_t>(step.numbers[1] / step.numbers[2])));
    }
  }
  const size_t parts = std::min<size_t>(MOST_SPLIT_ROWS, rows) * MOST_PARTS * heads;
  partStats_ = Memory(parts * 2 * sizeof(float));
  partMixes_ = Memory(parts * geometry.headSize * sizeof(float));
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
    case Op::Rotate:
      step.kind = Kind::Rotate;
      step.out = slot(1);
      step.rotation = &rotations_.try_emplace(step.a->width, step.a->width).first->second.rotation();
      break;
    case Op::TakeColumns:
      step.columns = columns_.data() + static_cast<size_t>(step.numbers[0]);
      step.columnCount = slot(2)->width;
      step.kind = Kind::TakeColumns;
      step.out = slot(2);
      steps_.push_back(step);
      step.kind = Kind::KeepColumns;
      step.out = slot(1);
      break;
    case Op::Quantize: step.kind = Kind::Quantize; step.out = slot(1); break;
    case Op::Decode: step.kind = Kind::Decode; step.out = slot(1); break;
    case Op::Rope: step.kind = Kind::Rope; step.out = slot(0); break;
    case Op::SiluMul: step.kind = Kind::SiluMul; step.b = slot(1); step.out = slot(2); break;
    case Op::Add: {
      step.kind = Kind::Add;
      step.out = slot(1);
      // What a product has just given is added where it was computed.
      Step* const last = steps_.empty() ? nullptr : &steps_.back();
      if (last && isProduct(last->kind) && last->out == step.a && !last->sum && !last->logits && step.out != last->a &&
          step.out != last->out) {
        last->sum = step.out;
        return;
      }
      break;
    }
    case Op::Gram:
      step.kind = Kind::Gram;
      step.b = slot(1);
      step.out = slot(2);
      step.units = (step.a->width + GRAM_STRIP - 1) / GRAM_STRIP;
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
      step.unitRows = 4 * kernels_.vectorWidth;
      break;
    case WeightKind::Integer: {
      step.kind = Kind::Integer;
      step.units = step.weight.integer.tiles;
      step.unitRows = kernels_.vectorWidth;
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
      step.unitRows = 2 * kernels_.vectorWidth;
  }
  steps_.push_back(step);
}

/**
 * Parts the steps into phases. Row-by-row steps share one: a row stays with the thread that took it. Of a single row, one
 * thread would do them while the others wait; norms, rotations and codes, which depend on nothing that happens meanwhile, are cheaper
 * done by each thread for itself, into rows of its own.
 */
void Program::arrange() {
  for (size_t i = 0; i < steps_.size(); ++i) {
    Step& step = steps_[i];
    PhaseSteps* phase = phaseSteps_.empty() ? nullptr : &phaseSteps_.back();
    bool joins = false;
    if (phase && isByRow(step.kind)) {
      const Kind first = steps_[phase->first].kind;
      joins = isByRow(first) && isPure(first) == isPure(step.kind);
    }
    if (phase && isProduct(step.kind)) {
      joins = isProduct(steps_[phase->first].kind);
      for (size_t j = phase->first; joins && j < i; ++j)
        joins = !writes(steps_[j], step.a) && !writes(step, steps_[j].a) && !writes(step, steps_[j].out) &&
                !writes(step, steps_[j].sum) && steps_[j].logits == step.logits;
    }
    if (!joins) {
      phaseSteps_.push_back({i, i, 0, 0, false});
      phase = &phaseSteps_.back();
    }
    phase->end = i + 1;
    step.base = phase->total;
    phase->total += step.units;
  }
  for (size_t p = 0; p + 1 < phaseSteps_.size(); ++p)
    if (canOwn(p)) makeOwn(p);
  size_t next = phaseSteps_.size();
  for (size_t p = phaseSteps_.size(); p-- > 0;) {
    phaseSteps_[p].nextProducts = next;
    if (isProduct(steps_[phaseSteps_[p].first].kind)) next = p;
  }
}

/**
 * Whether a phase's results are read by the products of the next phase only and made again later, so that the shared rows
 * hold at the end of a run what its last operations wrote; and whether what it reads stays as it is through the next phase.
 */
bool Program::canOwn(size_t p) const {
  const PhaseSteps &phase = phaseSteps_[p], &next = phaseSteps_[p + 1];
  if (!isPure(steps_[phase.first].kind) || !isProduct(steps_[next.first].kind)) return false;
  for (size_t i = phase.first; i < phase.end; ++i) {
    const Step& step = steps_[i];
    if (step.out == step.a || step.out == step.b) return false;
    for (size_t j = next.first; j < next.end; ++j)
      if (writes(steps_[j], step.a) || writes(steps_[j], step.b) || writes(steps_[j], step.out)) return false;
    bool again = false;
    for (size_t j = next.end; j < steps_.size() && !again; ++j) {
      if (reads(steps_[j], step.out)) return false;
      again = isPure(steps_[j].kind) && steps_[j].out == step.out;
    }
    if (!again) return false;
  }
  return true;
}

void Program::makeOwn(size_t p) {
  PhaseSteps &phase = phaseSteps_[p], &next = phaseSteps_[p + 1];
  phase.own = true;
  for (size_t i = phase.first; i < phase.end; ++i) {
    Slot* const made = steps_[i].out;
    steps_[i].ownOut = true;
    while (made->own.size() < static_cast<size_t>(pool_->threads())) made->own.push_back(makeSlot(made->kind, made->width, 1));
    for (size_t j = i + 1; j < next.end; ++j) {
      if (steps_[j].a == made) steps_[j].ownA = true;
      if (steps_[j].b == made) steps_[j].ownB = true;
    }
  }
}

}  // namespace duobit
