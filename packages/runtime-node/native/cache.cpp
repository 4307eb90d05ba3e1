// Sizes and allocation of the KV cache; see cache.h.
#include "cache.h"

namespace duobit {

static size_t divideUp(size_t value, size_t by) { return (value + by - 1) / by; }

KvCache::KvCache(CacheKind kind, int sequences, int layers, int kvHeads, int headSize, int capacity, int vectorWidth)
    : layerCount_(layers) {
  const size_t lanes = vectorWidth, size = headSize;
  // Bytes of a position: of its key and of its value, offsets and steps included, padded to whole vectors.
  size_t keyRow = 0, valueRow = 0, valueTile = 0;
  if (kind == CacheKind::F32 || kind == CacheKind::F16) {
    const size_t each = kind == CacheKind::F32 ? 4 : 2;
    keyRow = size * each, valueRow = divideUp(size, lanes) * lanes * each;
    valueTile = valueRow * lanes;
  } else {
    const size_t params = 2 * sizeof(uint16_t), codes = kind == CacheKind::Int8 ? 2 : 1;
    keyRow = valueRow = divideUp(size, CACHE_GROUP) * params + divideUp(size, 2 * lanes) * lanes * codes;
    valueTile = ATTENTION_BLOCK * (params + CACHE_GROUP / 2 * codes);
  }
  const size_t keyBytes = ATTENTION_BLOCK * keyRow;
  const size_t headBytes = divideUp(keyBytes + ATTENTION_BLOCK * valueRow, 64) * 64, layerBytes = headBytes * kvHeads;
  const size_t blockBytes = layerBytes * layers, sequenceBytes = blockBytes * divideUp(capacity, ATTENTION_BLOCK);
  uint8_t* const data = memory_.allocate(sequenceBytes * sequences);
  for (int sequence = 0; sequence < sequences; ++sequence)
    for (int layer = 0; layer < layers; ++layer)
      layers_.push_back({kind, kvHeads, headSize, data + sequence * sequenceBytes + layer * layerBytes, keyRow * lanes, valueTile,
                         keyBytes, headBytes, blockBytes});
}

}  // namespace duobit
