// The kernels of the device, as C++ of the host.
#define DUOBIT_EMULATOR
#include "../kernels.cu"
#ifdef DUOBIT_WATCHED
#include "faulty.h"
#endif
