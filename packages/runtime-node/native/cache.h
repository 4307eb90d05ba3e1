// The KV caches of a program, one for each sequence: one layout for every precision, in blocks of positions and tiles of VW of
// them (kernels.h "KV cache").
#pragma once
#include <vector>

#include "kernels.h"
#include "memory.h"

namespace duobit {

class KvCache {
 public:
  KvCache() = default;
  /** @throws std::bad_alloc */
  KvCache(CacheKind kind, int sequences, int layers, int kvHeads, int headSize, int capacity, int vectorWidth);
  const CacheLayer& layer(int sequence, int index) const { return layers_[sequence * layerCount_ + index]; }

 private:
  int layerCount_ = 0;
  /** Of one sequence after the other. */
  std::vector<CacheLayer> layers_;
  Arena memory_;
};

}  // namespace duobit
