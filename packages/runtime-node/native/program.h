// A plan compiled to a flat list of steps, run by a pool of threads in one call.
#pragma once
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "cache.h"
#include "dealer.h"
#include "kernels.h"
#include "memory.h"
#include "pool.h"
#include "rotation.h"
#include "team.h"
#include "weights.h"

namespace duobit {

/** Rows whose parts of positions several threads may share; beyond, there are rows enough for all. */
constexpr int MOST_SPLIT_ROWS = 16;

enum class SlotKind { Tokens, F32, A4, Stat };

struct SlotSpec {
  SlotKind kind;
  int width;
};

/** Operations as the caller numbers them; the order is part of the interface with src/native/compile.ts. */
enum class Op { Embed, RmsNorm, Quantize, W11MatMul, DenseMatMul, Rope, Attention, SiluMul, Add, Logits, Gram, Decode, Rotate, TakeColumns };

/** `slots`: what the operation reads, then what it writes; unused entries are -1. */
struct Operation {
  Op op;
  int slots[4];
  int weight;
  /** epsilon | clips | first of the program's columns | head count and size | layer, head count, kv head count, head size, window (0: none) */
  double numbers[5];
};

struct Geometry {
  int cacheLayers, kvHeadCount, headSize, capacity, maxRows;
  CacheKind cache;
  int sequences = 1;
};

/** Rows of one sequence in a run, from `position` on; the last `logitRows` of them go through `logits` operations. */
struct RunPart {
  int sequence, position, rows, logitRows;
};

class Program {
 public:
  Program(std::shared_ptr<Pool> pool, const Kernels& kernels)
      : pool_(std::move(pool)), kernels_(kernels), dealer_(pool_->threads()), team_(pool_) {}
  ~Program() { pool_->settle(); }
  const Kernels& kernels() const { return kernels_; }
  int addWeight(const Weight& weight);
  /** Packs weights for this program. */
  Packer packer() { return {arena_, kernels_, team_}; }
  size_t weightBytes() const { return arena_.used(); }
  /** Everything a run needs is allocated here. @param columns of all TakeColumns. @throws std::bad_alloc */
  void build(const std::vector<SlotSpec>&, const std::vector<Operation>&, std::vector<double> frequencies, Geometry,
             std::vector<int32_t> columns = {});
  void writeTokens(int slot, const int32_t* values, size_t count);
  void writeFloats(int slot, const float* values, size_t count);
  /** Parts of different sequences. They and the token ids must have been checked. */
  void run(const std::vector<RunPart>& parts);
  size_t readSize(int slot, int rows) const;
  void read(int slot, int rows, float* out) const;
  /** Where the largest value of a row of an f32 slot is, and that value. */
  std::pair<int, float> readBest(int slot, int row) const;

 private:
  enum class Kind {
    Angles, Embed, RoundRows, Rope, CacheRows, MergeAttention, Add, RmsNorm, Rotate, KeepColumns, TakeColumns, Quantize, Decode, SiluMul,  // row by row
    W11Coded, W11Float, Dense, Integer,  // products, in tiles
    Attention, Gram,
  };
  struct Slot {
    SlotKind kind;
    int width;
    /** Bytes a row (a4: of its tables). */
    size_t stride;
    Memory memory, sums, params;
    size_t sumStride;
    /** One row for each thread, where some phase is its own; see arrange(). */
    std::vector<Slot> own;
    float* row(int index) const { return memory.as<float>(index * stride); }
    CodedRows coded() const { return {memory.as<uint8_t>(), stride, sums.as<int16_t>(), sumStride, params.as<float>()}; }
  };
  struct Step {
    Kind kind;
    Slot* a = nullptr;
    Slot* b = nullptr;
    Slot* c = nullptr;
    Slot* out = nullptr;
    /** What the result of a product is added to besides. */
    Slot* sum = nullptr;
    /** Which of `a`, `b` and `out` are the thread's own rows when there is but one. */
    bool ownA = false, ownB = false, ownOut = false;
    /** By value: what a phase needs to know lies together, as between two uses of it the weights pass through the caches. */
    Weight weight{};
    double numbers[5] = {};
    const Rotation* rotation = nullptr;
    /** Of KeepColumns and TakeColumns. */
    const int32_t* columns = nullptr;
    int columnCount = 0;
    bool logits = false;
    /** Tiles of a product or strips of sums, where they begin among those of its phase, and outputs of a tile. */
    int units = 0, base = 0, unitRows = 0;
  };
  /** Steps that need nothing that another thread wrote in the same phase. */
  struct PhaseSteps {
    size_t first, end;
    /** Tiles or strips of all its steps. */
    int total;
    /** The next phase of products; the number of phases when there is none. */
    size_t nextProducts;
    /** Of a single row each thread does it for itself, before its first unit of the next phase. */
    bool own;
  };
  /**
   * What every thread knows of a run, also one that comes too late for it; the rest, below, changes from run to run and is only read
   * by threads that hold a unit.
   */
  struct Request {
    int rows;
    /** Of the first row. */
    int position;
    /** In groups_. */
    int groups;
    /** Units that the positions of each row go to; 1 where a unit has all of them. */
    int splits;
  };
  struct Place {
    int sequence, position;
  };
  /** Neighbouring rows. */
  struct RowRange {
    int first, count;
  };

  static bool isByRow(Kind kind) { return kind <= Kind::SiluMul; }
  /** Writes nothing but `out`, and all of it, from `a` and `b` alone. */
  static bool isPure(Kind kind) { return kind >= Kind::RmsNorm && kind <= Kind::SiluMul; }
  static bool isProduct(Kind kind) { return kind >= Kind::W11Coded && kind <= Kind::Integer; }
  static bool writes(const Step& step, const Slot* slot) { return slot && (step.out == slot || step.sum == slot); }
  /** Results that are added to are read too. */
  static bool reads(const Step& step, const Slot* slot) {
    const bool inPlace = step.kind == Kind::Rope || step.kind == Kind::Add;
    return step.a == slot || step.b == slot || step.c == slot || step.sum == slot || (inPlace && step.out == slot);
  }
  void addSteps(const Operation&);
  void addProduct(Step, const Operation&);
  static Slot makeSlot(SlotKind, int width, size_t rows);
  void arrange();
  bool canOwn(size_t phase) const;
  void makeOwn(size_t phase);
  void work(const RunTicket&);
  /** Where an operand is: a thread's own row, or what all share. */
  static const Slot* find(const Slot* slot, bool own, const Request& request, int thread) {
    return own && request.rows == 1 ? &slot->own[thread] : slot;
  }
  bool isOwn(size_t phase, const Request& request) const { return request.rows == 1 && phaseSteps_[phase].own; }
  int countUnits(const PhaseSteps&, const Request&) const;
  int shareOf(int total) const;
  void fetchSteps(size_t phase) const;
  const uint8_t* partOf(size_t phase, int thread) const;
  void runUnit(const PhaseSteps&, const Request&, int unit, int thread);
  void runRows(const Step&, const Request&, int first, int end, int thread);
  void mergeParts(const Step&, int row, float* out);
  void runProduct(const Step&, const Request&, int first, int end, int thread);
  static int partsOf(const Step&, int position);
  int splitsOf(const Step&, const Request&) const;
  void runAttention(const Step&, const Request&, int unit, int thread);
  static void workOn(void* self, const RunTicket& ticket) { static_cast<Program*>(self)->work(ticket); }

  std::shared_ptr<Pool> pool_;
  const Kernels& kernels_;
  Dealer dealer_;
  /** Packs weights. */
  Team team_;
  Arena arena_;
  std::vector<Weight> weights_;
  std::vector<Slot> slots_;
  /** By width. */
  std::map<int, RotationSigns> rotations_;
  std::vector<int32_t> columns_;
  std::vector<Step> steps_;
  std::vector<PhaseSteps> phaseSteps_;
  KvCache cache_;
  std::vector<double> frequencies_;
  /** Of the latest run: sequence and position of each row, groups of rows that attention takes together, rows that logits are of. */
  std::vector<Place> places_;
  std::vector<RowRange> groups_, wanted_;
  std::vector<Memory> scratch_;
  Memory angles_, codes_, scales_, codeSums_, partStats_, partMixes_;
  RoundedRows rounded_{};
  Geometry geometry_{};
};

}  // namespace duobit
