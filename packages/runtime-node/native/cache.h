// The KV cache of a program: one layout for every precision, in tiles of VW positions (kernels.h "KV cache").
#pragma once
#include <vector>

#include "kernels.h"
#include "memory.h"

namespace duobit {

class KvCache {
 public:
  KvCache() = default;
  /** @throws std::bad_alloc */
  KvCache(CacheKind kind, int layers, int kvHeads, int headSize, int capacity, int vectorWidth);
  const CacheLayer& layer(int index) const { return layers_[index]; }

 private:
  std::vector<CacheLayer> layers_;
  std::vector<Memory> memory_;
};

}  // namespace duobit
