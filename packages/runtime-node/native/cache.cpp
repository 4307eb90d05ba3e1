// Sizes and allocation of the KV cache; see cache.h.
#include "cache.h"

namespace duobit {

static size_t divideUp(size_t value, size_t by) { return (value + by - 1) / by; }

KvCache::KvCache(CacheKind kind, int layers, int kvHeads, int headSize, int capacity, int vectorWidth) {
  const size_t lanes = vectorWidth, size = headSize, tiles = divideUp(capacity, lanes);
  const bool coded = kind == CacheKind::Int8 || kind == CacheKind::Int4;
  const size_t params = coded ? divideUp(size, CACHE_GROUP) * 2 * lanes * sizeof(uint16_t) : 0;
  // Bytes of a position: of its keys, and of its values padded to whole vectors.
  size_t keyRow = 0, valueRow = 0;
  switch (kind) {
    case CacheKind::F32: keyRow = size * 4, valueRow = divideUp(size, lanes) * lanes * 4; break;
    case CacheKind::F16: keyRow = size * 2, valueRow = divideUp(size, lanes) * lanes * 2; break;
    case CacheKind::Int8: keyRow = size, valueRow = divideUp(size, lanes) * lanes; break;
    case CacheKind::Int4: keyRow = divideUp(size, 2), valueRow = divideUp(size, 2 * lanes) * lanes; break;
  }
  const size_t keyTile = params + keyRow * lanes, valueTile = params + valueRow * lanes;
  for (int layer = 0; layer < layers; ++layer) {
    memory_.emplace_back(tiles * keyTile * kvHeads);
    memory_.emplace_back(tiles * valueTile * kvHeads);
    uint8_t *keys = memory_[memory_.size() - 2].as<uint8_t>(), *values = memory_.back().as<uint8_t>();
    layers_.push_back({kind, kvHeads, headSize, keys, values, keyTile, valueTile, tiles * keyTile, tiles * valueTile});
  }
}

}  // namespace duobit
