// Races, misaligned vectors and freed memory, found from the accesses themselves (watch.h). Two threads of a block race where one
// writes what the other touches with no barrier between, be they of one warp; blocks, where neither has seen the other's atomic
// operation, with a fence before it for what was written; kernels that may overlap, where one touches what another writes
// before it has waited for its inputs. Blocks that write the same over the same do not race.
#include "watch.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "fibers.h"

namespace emulator {
namespace {

/** A block's number among all that ran, the barriers it had passed, and a thread or one of these. */
struct Stamp {
  uint32_t block;
  uint16_t barriers, thread;
};
constexpr uint16_t MANY = 0xffff, ATOMIC = 0xfffe;

struct Trace {
  Stamp write, read;
};

/** A stretch of memory and a trace of each of its bytes, whose pages come when they are touched. */
struct Region {
  size_t bytes;
  Trace* traces;
};

std::map<uintptr_t, Region> device;
std::map<uintptr_t, size_t> freed;
/** Static shared memory by array; dynamic by itself. */
std::map<uintptr_t, Region> sharedArrays;
Region dynamicRegion{0, nullptr};
uintptr_t dynamicAt = 0, argumentsAt = 0;
size_t dynamicBytes = 0, argumentsBytes = 0;

/** Blocks are numbered from 1: the running one, the first of the launch, the first since all before had ended. */
uint32_t running = 0, firstOfLaunch = 1, firstUnordered = 1;
/** Of the launch. */
bool hasWaited = false, hasBegunEarly = false;

/** What of another block is known to have happened: writes up to so many barriers, reads before so many. */
struct Seen {
  int writes = -1, reads = 0;
};
typedef std::map<uint32_t, Seen> Knowledge;
Knowledge known;
std::map<uintptr_t, Knowledge> published;
int fencedAt = -1;

/** A write over what another block wrote or read, until it shows whether it changed anything. */
struct Doubt {
  const char* at = nullptr;
  size_t bytes = 0;
  char before[16];
  std::string what;
} doubt;

/** The trace of a region's byte. */
Trace* traceOf(Region& region, size_t byte) {
  if (region.traces == nullptr) region.traces = static_cast<Trace*>(std::calloc(region.bytes, sizeof(Trace)));
  return region.traces + byte;
}

Trace* within(std::map<uintptr_t, Region>& regions, uintptr_t at, size_t bytes) {
  auto it = regions.upper_bound(at);
  if (it == regions.begin()) return nullptr;
  --it;
  if (at >= it->first + it->second.bytes) return nullptr;
  if (at + bytes > it->first + it->second.bytes) fault("an access beyond the end of its memory");
  return traceOf(it->second, at - it->first);
}

/** Whether a write that was in doubt changed what it should not. */
bool hasChanged() {
  if (doubt.at == nullptr) return false;
  const bool changed = std::memcmp(doubt.at, doubt.before, doubt.bytes) != 0;
  doubt.at = nullptr;
  return changed;
}

std::string tell(const char* what, const Stamp& other, bool isShared) {
  const auto name = [](uint16_t thread) {
    return thread == MANY ? std::string("several") : thread == ATOMIC ? std::string("an atomic one") : std::to_string(thread);
  };
  std::string said = std::string(what) + ", " + (isShared ? "shared" : "device") + " memory: thread " +
                     std::to_string(current().thread.x) + " of block " + std::to_string(running - firstOfLaunch);
  return said + " and " + name(other.thread) +
         (other.block >= firstOfLaunch ? " of block " + std::to_string(other.block - firstOfLaunch) : " of another launch");
}

enum Access { READ, WRITE, ATOMIC_UPDATE };

/** Whether an access by the running thread comes in order behind one of before. */
bool isOrdered(const Stamp& s, bool wasWrite, uint16_t own, bool isShared) {
  if (s.block == 0) return true;
  if (s.block == running) return s.barriers != barriersPassed() || s.thread == own;
  if (isShared || s.block < firstOfLaunch) return isShared || inputsAwaited() || !wasWrite || s.block < firstUnordered;
  if (s.thread == ATOMIC && own == ATOMIC) return true;
  const auto it = known.find(s.block);
  return it != known.end() && (wasWrite ? s.barriers <= it->second.writes : s.barriers < it->second.reads);
}

/** @returns whether it is memory of the device */
bool access(const void* p, size_t bytes, Access kind, size_t alignment) {
  if (hasChanged()) fault(doubt.what.c_str());
  const uintptr_t at = reinterpret_cast<uintptr_t>(p);
  if (at - argumentsAt < argumentsBytes || isOwn(p)) return false;
  bool isShared = true;
  Trace* traces = at - dynamicAt < dynamicBytes ? traceOf(dynamicRegion, at - dynamicAt) : within(sharedArrays, at, bytes);
  if (traces == nullptr) {
    isShared = false;
    traces = within(device, at, bytes);
  }
  if (traces == nullptr) {
    const auto it = freed.upper_bound(at);
    if (it != freed.begin() && at < std::prev(it)->first + std::prev(it)->second) fault("an access to freed memory");
    return false;
  }
  if (at % alignment != 0) fault("a misaligned access");
  if (!isShared && kind != READ && !inputsAwaited()) fault("a write before the inputs were waited for");
  const uint16_t own = kind == ATOMIC_UPDATE ? ATOMIC : static_cast<uint16_t>(current().thread.x);
  const Stamp stamp{running, barriersPassed(), own};
  for (size_t i = 0; i < bytes; ++i) {
    Trace& t = traces[i];
    const bool afterWrite = isOrdered(t.write, true, own, isShared);
    if (!afterWrite || (kind != READ && !isOrdered(t.read, false, own, isShared))) {
      const Stamp& other = afterWrite ? t.read : t.write;
      const std::string what = tell(kind == READ ? "a read races with a write" : "a write races", other, isShared);
      if (kind != WRITE || other.block == running || other.block < firstOfLaunch || bytes > sizeof(doubt.before)) fault(what.c_str());
      doubt.at = static_cast<const char*>(p);
      doubt.bytes = bytes;
      std::memcpy(doubt.before, p, bytes);
      doubt.what = what;
    }
    if (kind != READ) t.write = stamp;
    else if (t.read.block != running || t.read.barriers != stamp.barriers) t.read = stamp;
    else if (t.read.thread != own) t.read.thread = MANY;
  }
  return !isShared;
}

}  // namespace

void watchAllocation(const void* memory, size_t bytes) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(memory);
  for (auto it = freed.begin(); it != freed.end();)
    it = it->first < at + bytes && at < it->first + it->second ? freed.erase(it) : std::next(it);
  device[at] = Region{bytes, nullptr};
}

void forgetAllocation(const void* memory, size_t bytes) {
  const auto it = device.find(reinterpret_cast<uintptr_t>(memory));
  std::free(it->second.traces);
  device.erase(it);
  freed[reinterpret_cast<uintptr_t>(memory)] = bytes;
}

void watchOrder() { firstUnordered = running + 1; }

void watchLaunch(const void* arguments, size_t bytes) {
  // The launch before let this one begin when it had waited: all before that have ended.
  if (hasWaited && !hasBegunEarly && firstUnordered < firstOfLaunch) firstUnordered = firstOfLaunch;
  hasWaited = hasBegunEarly = false;
  argumentsAt = reinterpret_cast<uintptr_t>(arguments);
  argumentsBytes = bytes;
  firstOfLaunch = running + 1;
  published.clear();
}

void watchBlock(const char* shared, size_t bytes) {
  dynamicAt = reinterpret_cast<uintptr_t>(shared);
  dynamicBytes = bytes;
  if (dynamicRegion.bytes < bytes) {
    std::free(dynamicRegion.traces);
    dynamicRegion = Region{bytes, nullptr};
  }
  ++running;
  known.clear();
  fencedAt = -1;
}

void watchWait() { hasWaited = true; }
void watchEarlyBegin() { hasBegunEarly = true; }

const char* watchEnd() { return hasChanged() ? doubt.what.c_str() : nullptr; }

void watchFence() { fencedAt = barriersPassed(); }

void watchAtomic(const void* at, size_t bytes) {
  if (!access(at, bytes, ATOMIC_UPDATE, bytes)) return;
  Knowledge& others = published[reinterpret_cast<uintptr_t>(at)];
  for (const auto& [block, seen] : others) {
    Seen& own = known[block];
    if (own.writes < seen.writes) own.writes = seen.writes;
    if (own.reads < seen.reads) own.reads = seen.reads;
  }
  others = known;
  others[running] = {fencedAt, barriersPassed()};
}

void watchShared(const void* memory, size_t bytes) { sharedArrays[reinterpret_cast<uintptr_t>(memory)] = Region{bytes, nullptr}; }

}  // namespace emulator

using emulator::access;

#define HOOKS(size)                                                                                                      \
  void __tsan_read##size(void* p) { access(p, size, emulator::READ, size); }                                             \
  void __tsan_write##size(void* p) { access(p, size, emulator::WRITE, size); }                                           \
  void __tsan_unaligned_read##size(void* p) { access(p, size, emulator::READ, 1); }                                      \
  void __tsan_unaligned_write##size(void* p) { access(p, size, emulator::WRITE, 1); }

extern "C" {
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
void __tsan_read_range(void* p, size_t bytes) { access(p, bytes, emulator::READ, 1); }
void __tsan_write_range(void* p, size_t bytes) { access(p, bytes, emulator::WRITE, 1); }
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
}
