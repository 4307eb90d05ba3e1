// The host side of the emulator: the part of the CUDA driver API that the backend calls, on host memory. Work is done when it
// is asked for; a captured stream only records. A failed launch stays an error of the context, as on a device.
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fibers.h"
#include "watch.h"

typedef int CUresult;
typedef uint64_t CUdeviceptr;

namespace {

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_FOUND = 500, LAUNCH_FAILED = 719, CAPTURE_UNSUPPORTED = 900 };

/** Bytes that a block may ask for: Hopper's, or what DUOBIT_EMULATOR_SHARED says, for tests of devices that have less. */
int sharedMemory() {
  const char* const said = std::getenv("DUOBIT_EMULATOR_SHARED");
  return said ? std::atoi(said) : 227 << 10;
}

/** The device has this much; DUOBIT_EMULATOR_MEMORY says otherwise, for tests of running out. */
size_t memoryTotal() {
  const char* const said = std::getenv("DUOBIT_EMULATOR_MEMORY");
  return said ? std::strtoull(said, nullptr, 10) : size_t{8} << 30;
}

size_t memoryUsed = 0;
std::map<CUdeviceptr, size_t> allocations;
std::map<void*, size_t> hostAllocations;
CUresult sticky = SUCCESS;
int holders = 0;
/** Dynamic shared memory that a kernel may have, where it was set. */
std::map<void*, unsigned> mostDynamic;
std::string lastFault;

struct Node {
  enum { LAUNCH, COPY, FILL } kind;
  const emulator::Entry* entry;
  emulator::Grid grid;
  size_t sharedBytes;
  std::vector<char> arguments;
  void* to;
  const void* from;
  size_t bytes;
  uint32_t value;
};

typedef std::vector<Node> Graph;
Graph* capturing = nullptr;

bool isDevice(const void* p, size_t bytes) {
  const CUdeviceptr at = reinterpret_cast<CUdeviceptr>(p);
  auto it = allocations.upper_bound(at);
  if (it == allocations.begin()) return false;
  --it;
  return at >= it->first && at + bytes <= it->first + it->second;
}

CUresult perform(const Node& n) {
  if (sticky != SUCCESS) return sticky;
  // Launches may overlap, copies do not.
  if (n.kind != Node::LAUNCH) emulator::watchOrder();
  switch (n.kind) {
    case Node::COPY: std::memmove(n.to, n.from, n.bytes); return SUCCESS;
    case Node::FILL:
      for (size_t i = 0; i < n.bytes; i += 4) std::memcpy(static_cast<char*>(n.to) + i, &n.value, 4);
      return SUCCESS;
    case Node::LAUNCH:
      if (const char* what = emulator::launch(*n.entry, n.grid, n.sharedBytes, n.arguments.data())) {
        lastFault = std::string(n.entry->name) + ": " + what;
        return sticky = LAUNCH_FAILED;
      }
      return SUCCESS;
  }
  return INVALID_VALUE;
}

CUresult submit(Node node) {
  if (!capturing) return perform(node);
  capturing->push_back(std::move(node));
  return SUCCESS;
}

double now() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

extern "C" {

CUresult cuMemFree_v2(CUdeviceptr pointer);

/** Told apart from a driver by this symbol. */
const char* duobitEmulatorFault() { return lastFault.c_str(); }

CUresult cuInit(unsigned) { return SUCCESS; }
CUresult cuDriverGetVersion(int* version) {
  *version = 12030;
  return SUCCESS;
}
CUresult cuDeviceGetCount(int* count) {
  *count = 1;
  return SUCCESS;
}
CUresult cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return ordinal == 0 ? SUCCESS : INVALID_VALUE;
}
CUresult cuDeviceGetName(char* name, int length, int) {
  std::strncpy(name, "emulator", static_cast<size_t>(length));
  return SUCCESS;
}
CUresult cuDeviceTotalMem_v2(size_t* bytes, int) {
  *bytes = memoryTotal();
  return SUCCESS;
}
CUresult cuDeviceGetAttribute(int* value, int attribute, int) {
  switch (attribute) {
    case 16: *value = 4; break;        // multiprocessors
    case 75: *value = 9; break;        // compute capability
    case 76: *value = 0; break;
    case 97: *value = sharedMemory(); break; // that a block may ask for
    default: *value = 0;
  }
  return SUCCESS;
}
CUresult cuDevicePrimaryCtxRetain(void** context, int) {
  // What a context takes for itself; it is not counted.
  if (memoryUsed + (size_t{1} << 20) > memoryTotal()) return OUT_OF_MEMORY;
  ++holders;
  *context = &sticky;
  return SUCCESS;
}
CUresult cuDevicePrimaryCtxRelease_v2(int) {
  if (--holders > 0) return SUCCESS;
  // With the last of those who hold it the context goes, and its error and its memory with it.
  sticky = SUCCESS;
  while (!allocations.empty()) cuMemFree_v2(allocations.begin()->first);
  return SUCCESS;
}
CUresult cuCtxSetCurrent(void*) { return SUCCESS; }

CUresult cuMemGetInfo_v2(size_t* free, size_t* total) {
  *total = memoryTotal();
  *free = *total - memoryUsed;
  return SUCCESS;
}
CUresult cuMemAlloc_v2(CUdeviceptr* pointer, size_t bytes) {
  if (bytes == 0) return INVALID_VALUE;
  if (memoryUsed + bytes > memoryTotal()) return OUT_OF_MEMORY;
  void* memory = nullptr;
  if (posix_memalign(&memory, 512, bytes) != 0) return OUT_OF_MEMORY;
  // What nobody has written reads as NaN.
  std::memset(memory, 0xff, bytes);
  *pointer = reinterpret_cast<CUdeviceptr>(memory);
  allocations[*pointer] = bytes;
  emulator::watchAllocation(memory, bytes);
  memoryUsed += bytes;
  return SUCCESS;
}
CUresult cuMemFree_v2(CUdeviceptr pointer) {
  if (sticky != SUCCESS) return sticky;
  const auto it = allocations.find(pointer);
  if (it == allocations.end()) return INVALID_VALUE;
  memoryUsed -= it->second;
  emulator::forgetAllocation(reinterpret_cast<void*>(pointer), it->second);
  allocations.erase(it);
  std::free(reinterpret_cast<void*>(pointer));
  return SUCCESS;
}
CUresult cuMemAllocHost_v2(void** pointer, size_t bytes) {
  if (posix_memalign(pointer, 512, bytes) != 0) return OUT_OF_MEMORY;
  // Kernels may use it too.
  hostAllocations[*pointer] = bytes;
  emulator::watchAllocation(*pointer, bytes);
  return SUCCESS;
}
CUresult cuMemFreeHost(void* pointer) {
  if (sticky != SUCCESS) return sticky;
  const auto it = hostAllocations.find(pointer);
  if (it == hostAllocations.end()) return INVALID_VALUE;
  emulator::forgetAllocation(pointer, it->second);
  hostAllocations.erase(it);
  std::free(pointer);
  return SUCCESS;
}
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, void*) {
  if (!isDevice(reinterpret_cast<void*>(to), bytes)) return INVALID_VALUE;
  return submit(Node{Node::COPY, nullptr, {}, 0, {}, reinterpret_cast<void*>(to), from, bytes, 0});
}
CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, void*) {
  if (!isDevice(reinterpret_cast<void*>(from), bytes)) return INVALID_VALUE;
  return submit(Node{Node::COPY, nullptr, {}, 0, {}, to, reinterpret_cast<void*>(from), bytes, 0});
}
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, void*) {
  if (!isDevice(reinterpret_cast<void*>(from), bytes) || !isDevice(reinterpret_cast<void*>(to), bytes)) return INVALID_VALUE;
  return submit(Node{Node::COPY, nullptr, {}, 0, {}, reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes, 0});
}
CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, void*) {
  if (!isDevice(reinterpret_cast<void*>(to), 4 * count)) return INVALID_VALUE;
  return submit(Node{Node::FILL, nullptr, {}, 0, {}, reinterpret_cast<void*>(to), nullptr, 4 * count, value});
}

CUresult cuStreamCreate(void** stream, unsigned) {
  *stream = new int(0);
  return SUCCESS;
}
CUresult cuStreamDestroy_v2(void* stream) {
  if (sticky != SUCCESS) return sticky;
  delete static_cast<int*>(stream);
  return SUCCESS;
}
CUresult cuStreamSynchronize(void*) {
  emulator::watchOrder();
  return sticky;
}
CUresult cuStreamBeginCapture_v2(void*, int) {
  if (capturing) return INVALID_VALUE;
  capturing = new Graph;
  return SUCCESS;
}
CUresult cuStreamEndCapture(void*, void** graph) {
  if (!capturing) return INVALID_VALUE;
  *graph = capturing;
  capturing = nullptr;
  return SUCCESS;
}
CUresult cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long) {
  *executable = new Graph(*static_cast<Graph*>(graph));
  return SUCCESS;
}
CUresult cuGraphDestroy(void* graph) {
  delete static_cast<Graph*>(graph);
  return SUCCESS;
}
CUresult cuGraphExecDestroy(void* executable) {
  if (sticky != SUCCESS) return sticky;
  delete static_cast<Graph*>(executable);
  return SUCCESS;
}
CUresult cuGraphLaunch(void* executable, void*) {
  // Only launches within a graph may overlap: it begins when all before it has ended.
  emulator::watchOrder();
  for (const Node& node : *static_cast<Graph*>(executable))
    if (const CUresult result = submit(node)) return result;
  return SUCCESS;
}

CUresult cuModuleLoadDataEx(void** module, const void* image, unsigned, int*, void**) {
  if (!image) return INVALID_VALUE;
  *module = new int(0);
  return SUCCESS;
}
CUresult cuModuleUnload(void* module) {
  if (sticky != SUCCESS) return sticky;
  delete static_cast<int*>(module);
  return SUCCESS;
}
CUresult cuModuleGetFunction(void** function, void*, const char* name) {
  // Looking a kernel up loads it, for which a driver may have to wait for the device.
  if (capturing) return CAPTURE_UNSUPPORTED;
  *function = emulator::findKernel(name);
  return *function ? SUCCESS : NOT_FOUND;
}
CUresult cuFuncSetAttribute(void* function, int attribute, int value) {
  if (attribute == 8) mostDynamic[function] = static_cast<unsigned>(value);
  return SUCCESS;
}
CUresult cuFuncGetAttribute(int* value, int, void*) {
  *value = 0;
  return SUCCESS;
}
CUresult cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                        unsigned sharedBytes, void*, void** parameters, void**) {
  const auto* const entry = static_cast<const emulator::Entry*>(function);
  // More than this has to be asked for.
  const auto most = mostDynamic.find(function);
  if (sharedBytes > (most == mostDynamic.end() ? 48u << 10 : most->second)) return INVALID_VALUE;
  const char* const args = static_cast<const char*>(parameters[0]);
  return submit(Node{Node::LAUNCH, entry, {{gx, gy, gz}, {bx, by, bz}}, sharedBytes,
                     std::vector<char>(args, args + entry->argumentBytes), nullptr, nullptr, 0, 0});
}

/** CUlaunchConfig. */
struct LaunchConfig {
  unsigned grid[3], block[3], sharedBytes;
  void* stream;
  void* attributes;
  unsigned attributeCount;
};
CUresult cuLaunchKernelEx(const LaunchConfig* config, void* function, void** parameters, void**) {
  const unsigned *const g = config->grid, *const b = config->block;
  return cuLaunchKernel(function, g[0], g[1], g[2], b[0], b[1], b[2], config->sharedBytes, config->stream, parameters, nullptr);
}

CUresult cuEventCreate(void** event, unsigned) {
  *event = new double(0);
  return SUCCESS;
}
CUresult cuEventDestroy_v2(void* event) {
  if (sticky != SUCCESS) return sticky;
  delete static_cast<double*>(event);
  return SUCCESS;
}
CUresult cuEventRecord(void* event, void*) {
  *static_cast<double*>(event) = now();
  return SUCCESS;
}
CUresult cuEventSynchronize(void*) { return sticky; }
CUresult cuEventElapsedTime(float* milliseconds, void* from, void* to) {
  *milliseconds = static_cast<float>(*static_cast<double*>(to) - *static_cast<double*>(from));
  return SUCCESS;
}

CUresult cuGetErrorName(CUresult code, const char** name) {
  switch (code) {
    case SUCCESS: *name = "CUDA_SUCCESS"; break;
    case INVALID_VALUE: *name = "CUDA_ERROR_INVALID_VALUE"; break;
    case OUT_OF_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case NOT_FOUND: *name = "CUDA_ERROR_NOT_FOUND"; break;
    case LAUNCH_FAILED: *name = "CUDA_ERROR_LAUNCH_FAILED"; break;
    case CAPTURE_UNSUPPORTED: *name = "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"; break;
    default: *name = "CUDA_ERROR_UNKNOWN";
  }
  return SUCCESS;
}
CUresult cuGetErrorString(CUresult code, const char** text) {
  *text = code == LAUNCH_FAILED ? lastFault.c_str() : "";
  return SUCCESS;
}

}  // extern "C"
