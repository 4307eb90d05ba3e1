// Deals the operations of training out; see trainer.h. How work is cut never changes a result: a unit's sums are its own, and where
// units are put together, their number and order depend on sizes alone.
#include "trainer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace duobit {

/** Values in a unit of what passes over values once: some ten microseconds. */
constexpr size_t RUN = 16384;
/** Units for each thread, so that none waits long for the last. */
constexpr int SHARES = 4;
/** Floats of packed panels at once: what a last-level cache holds. */
constexpr size_t PANEL_FLOATS = size_t{1} << 21;
/** Steps of the inner size in a panel at most. */
constexpr int PANEL_STEPS = 4096;
/** Rows whose gradients of a norm's weight are one sum. */
constexpr int NORM_ROWS = 64;
/** Values whose squares are one sum. */
constexpr size_t SQUARES = 65536;

static int quotientUp(size_t value, size_t by) { return static_cast<int>((value + by - 1) / by); }

template <class F>
void Trainer::eachRows(int rows, size_t width, F&& act) {
  const int most = static_cast<int>(std::max<size_t>(1, RUN / width));
  team_.each(quotientUp(rows, most), [&](int unit, int thread) { act(unit * most, std::min(rows, (unit + 1) * most), thread); });
}

template <class F>
void Trainer::eachRun(size_t count, F&& act) {
  team_.each(quotientUp(count, RUN), [&](int unit, int) {
    const size_t first = static_cast<size_t>(unit) * RUN;
    act(first, static_cast<int>(std::min(RUN, count - first)));
  });
}

void Trainer::multiply(const float* a, const float* b, float* out, int m, int n, int k, bool aTransposed, bool bTransposed) {
  const int panel = table_.panel, tile = table_.tileRows, threads = team_.threads(), depth = productDepth(k);
  // A long inner size is taken in turns, so that panels of many columns are there at once and each row of a is read seldom.
  const int steps = std::min(k, std::max(1, PANEL_STEPS / depth) * depth);
  const int columns = std::min<int>(n, std::max<int>(1, static_cast<int>(PANEL_FLOATS / steps / panel)) * panel);
  team_.reserve(PRODUCT_SCRATCH);
  float* const panels = team_.shared(static_cast<size_t>(quotientUp(columns, panel)) * panel * steps);
  ProductTask task{a, b, out, m, n, k, aTransposed, bTransposed, 0, 0, 0, 0, panels};
  // Units of whole tiles; where rows are few, of some columns only.
  const int fair = threads == 1 ? PRODUCT_ROWS : quotientUp(quotientUp(m, SHARES * threads), tile) * tile;
  const int height = std::min(PRODUCT_ROWS, std::max(fair, 2 * tile)), strips = quotientUp(m, height);
  for (task.first = 0; task.first < n; task.first += columns)
    for (task.firstStep = 0; task.firstStep < k; task.firstStep += steps) {
      task.columns = std::min(columns, n - task.first);
      task.steps = std::min(steps, k - task.firstStep);
      const int count = quotientUp(task.columns, panel);
      const int parts = threads == 1 ? 1 : std::clamp(SHARES * threads / strips, 1, count);
      team_.each(count, [&](int unit, int) { table_.packPanel(task, unit); });
      team_.each(strips * parts, [&](int unit, int thread) {
        const int begin = unit / parts * height, part = unit % parts;
        const auto panelOf = [&](int i) { return static_cast<int>(static_cast<int64_t>(count) * i / parts); };
        table_.multiply(task, begin, std::min(m, begin + height), panelOf(part), panelOf(part + 1), team_.scratch(thread));
      });
    }
}

void Trainer::add(const float* a, const float* b, float* out, size_t count) {
  eachRun(count, [&](size_t at, int size) { table_.addRuns(a + at, b + at, out + at, size); });
}

void Trainer::norm(const float* x, const float* weight, float epsilon, float* out, int rows, int width) {
  eachRows(rows, width, [&](int first, int end, int) {
    for (int row = first; row < end; ++row) {
      const size_t at = static_cast<size_t>(row) * width;
      table_.normRow(x + at, weight, out + at, width, epsilon);
    }
  });
}

void Trainer::normBack(const float* x, const float* weight, float epsilon, const float* dOut, float* dX, float* dWeight, int rows, int width) {
  const int blocks = quotientUp(rows, NORM_ROWS);
  float* const parts = team_.shared(static_cast<size_t>(blocks) * width);
  team_.each(blocks, [&](int block, int) {
    float* const part = parts + static_cast<size_t>(block) * width;
    std::fill(part, part + width, 0.0f);
    for (int row = block * NORM_ROWS; row < std::min(rows, (block + 1) * NORM_ROWS); ++row) {
      const size_t at = static_cast<size_t>(row) * width;
      table_.normRowBack(x + at, weight, dOut + at, dX + at, part, width, epsilon);
    }
  });
  std::copy(parts, parts + width, dWeight);
  for (int block = 1; block < blocks; ++block) table_.addRuns(parts + static_cast<size_t>(block) * width, dWeight, dWeight, width);
}

const float* Trainer::anglesOf(const double* frequencies, int half, int tokens) {
  const bool same = frequencies_.size() == static_cast<size_t>(half) && std::equal(frequencies_.begin(), frequencies_.end(), frequencies);
  const size_t row = 2 * static_cast<size_t>(half), known = same ? angles_.size() / row : 0;
  if (!same) angles_.clear();
  frequencies_.assign(frequencies, frequencies + half);
  if (known < static_cast<size_t>(tokens)) angles_.resize(tokens * row);
  for (size_t position = known; position < static_cast<size_t>(tokens); ++position)
    for (int i = 0; i < half; ++i) {
      const double angle = static_cast<double>(position) * frequencies[i];
      angles_[position * row + i] = static_cast<float>(std::cos(angle));
      angles_[position * row + half + i] = static_cast<float>(std::sin(angle));
    }
  return angles_.data();
}

void Trainer::turn(const float* x, int headCount, const double* frequencies, int half, int windows, int tokens, bool inverse, float* out) {
  const float* const angles = anglesOf(frequencies, half, tokens);
  const size_t width = static_cast<size_t>(headCount) * 2 * half;
  eachRows(windows * tokens, width, [&](int first, int end, int) {
    for (int row = first; row < end; ++row)
      table_.turnRow(x + row * width, angles + row % tokens * 2 * static_cast<size_t>(half), out + row * width, headCount, 2 * half, inverse);
  });
}

void Trainer::attend(const AttentionForward& task) {
  const AttentionShape& s = task.shape;
  team_.reserve(table_.attendScratch(s));
  packed_.assign(team_.threads(), -1);
  team_.each(s.windows * s.headCount, [&](int unit, int thread) {
    table_.attend(task, unit / s.headCount, unit % s.headCount, team_.scratch(thread), packed_[thread]);
  });
}

void Trainer::attendBack(const AttentionBackward& task) {
  const AttentionShape& s = task.shape;
  team_.reserve(table_.attendBackScratch(s));
  team_.each(s.windows * s.kvHeadCount, [&](int unit, int thread) {
    table_.attendBack(task, unit / s.kvHeadCount, unit % s.kvHeadCount, team_.scratch(thread));
  });
}

void Trainer::gate(const float* gate, const float* up, float* out, size_t count) {
  eachRun(count, [&](size_t at, int size) { table_.gate(gate + at, up + at, out + at, size); });
}

void Trainer::gateBack(const float* gate, const float* up, const float* dOut, float* dGate, float* dUp, size_t count) {
  eachRun(count, [&](size_t at, int size) { table_.gateBack(gate + at, up + at, dOut + at, dGate + at, dUp + at, size); });
}

void Trainer::rotate(const float* x, int rows, int width, bool inverse, float* out) {
  std::unique_ptr<Turned>& turned = rotations_[width];
  if (!turned) turned = std::make_unique<Turned>(width);
  const Rotation& rotation = turned->signs.rotation();
  eachRows(rows, width, [&](int first, int end, int) {
    for (int row = first; row < end; ++row) {
      const size_t at = static_cast<size_t>(row) * width;
      if (inverse) table_.rotateBack(rotation, turned->ones.data(), x + at, out + at);
      else table_.rotate(rotation, x + at, out + at);
    }
  });
}

void Trainer::quantize(const float* x, int rows, int width, const float* clips, float* out) {
  eachRows(rows, width, [&](int first, int end, int) {
    for (int row = first; row < end; ++row) {
      const size_t at = static_cast<size_t>(row) * width;
      table_.quantizeRow(x + at, width, clips[0], clips[1], out + at);
    }
  });
}

void Trainer::quantizeBack(const float* x, int rows, int width, const float* clips, const float* dOut, float* dX, float* dClips) {
  double* const parts = reinterpret_cast<double*>(team_.shared(4 * static_cast<size_t>(rows)));
  eachRows(rows, width, [&](int first, int end, int) {
    for (int row = first; row < end; ++row) {
      const size_t at = static_cast<size_t>(row) * width;
      table_.quantizeRowBack(x + at, width, clips[0], clips[1], dOut + at, dX + at, parts + 2 * static_cast<size_t>(row));
    }
  });
  double low = 0, high = 0;
  for (size_t row = 0; row < static_cast<size_t>(rows); ++row) {
    low += parts[2 * row];
    high += parts[2 * row + 1];
  }
  dClips[0] = static_cast<float>(low);
  dClips[1] = static_cast<float>(high);
}

template <class F>
void Trainer::eachGroup(int rows, int columns, int groupSize, F&& act) {
  const int groups = quotientUp(columns, groupSize);
  eachRows(rows, columns, [&](int first, int end, int) {
    for (int row = first; row < end; ++row)
      for (int g = 0; g < groups; ++g)
        act(static_cast<size_t>(row) * columns + static_cast<size_t>(g) * groupSize, 4 * (static_cast<size_t>(row) * groups + g),
            std::min(groupSize, columns - g * groupSize));
  });
}

void Trainer::nearest(const float* latent, const float* levels, int rows, int columns, int groupSize, float* out) {
  eachGroup(rows, columns, groupSize, [&](size_t at, size_t four, int count) {
    table_.nearestGroup(latent + at, levels + four, count, out + at);
  });
}

void Trainer::nearestBack(const float* latent, const float* levels, int rows, int columns, int groupSize, const float* dOut, float* dLevels) {
  eachGroup(rows, columns, groupSize, [&](size_t at, size_t four, int count) {
    table_.nearestGroupBack(latent + at, levels + four, count, dOut + at, dLevels + four);
  });
}

void Trainer::chosen(const int32_t* codes, const float* levels, int rows, int columns, int groupSize, float* out) {
  eachGroup(rows, columns, groupSize, [&](size_t at, size_t four, int count) {
    table_.chosenGroup(codes + at, levels + four, count, out + at);
  });
}

void Trainer::chosenBack(const int32_t* codes, int rows, int columns, int groupSize, const float* dOut, float* dLevels) {
  eachGroup(rows, columns, groupSize, [&](size_t at, size_t four, int count) {
    table_.chosenGroupBack(codes + at, count, dOut + at, dLevels + four);
  });
}

void Trainer::relaxed(const float* latent, const float* bitmap, const float* levels, int rows, int columns, int groupSize, float* out) {
  eachGroup(rows, columns, groupSize, [&](size_t at, size_t four, int count) {
    table_.relaxedGroup(latent + at, bitmap + at, levels + four, count, out + at);
  });
}

void Trainer::relaxedBack(const float* latent, const float* bitmap, const float* levels, int rows, int columns, int groupSize, float push, const float* dOut, float* dBitmap, float* dLevels) {
  eachGroup(rows, columns, groupSize, [&](size_t at, size_t four, int count) {
    table_.relaxedGroupBack(latent + at, bitmap + at, levels + four, count, push, dOut + at, dBitmap + at, dLevels + four);
  });
}

void Trainer::distill(const float* teacher, const float* student, int rows, int width, float* losses) {
  eachRows(rows, width, [&](int first, int end, int) {
    for (int row = first; row < end; ++row)
      losses[row] = table_.distillRow(teacher + static_cast<size_t>(row) * width, student + static_cast<size_t>(row) * width, width);
  });
}

void Trainer::distillBack(const float* teacher, const float* student, int rows, int width, const float* dLosses, float* dStudent) {
  team_.reserve(width);
  eachRows(rows, width, [&](int first, int end, int thread) {
    for (int row = first; row < end; ++row) {
      const size_t at = static_cast<size_t>(row) * width;
      table_.distillRowBack(teacher + at, student + at, width, dLosses[row], dStudent + at, team_.scratch(thread));
    }
  });
}

void Trainer::adam(float* parameter, const float* gradient, float* mean, float* square, size_t count, const AdamStep& step) {
  eachRun(count, [&](size_t at, int size) { table_.adam(parameter + at, gradient + at, mean + at, square + at, size, step); });
}

double Trainer::sumOfSquares(const float* values, size_t count) {
  const int blocks = quotientUp(count, SQUARES);
  double* const parts = reinterpret_cast<double*>(team_.shared(2 * static_cast<size_t>(blocks) + 2));
  team_.each(blocks, [&](int block, int) {
    const size_t first = static_cast<size_t>(block) * SQUARES;
    parts[block] = table_.sumOfSquares(values + first, static_cast<int>(std::min(SQUARES, count - first)));
  });
  double total = 0;
  for (int block = 0; block < blocks; ++block) total += parts[block];
  return total;
}

}  // namespace duobit
