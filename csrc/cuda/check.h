#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#include "launch.h"

namespace vaefast {

inline void check_cuda(cudaError_t error, const char* what) {
    if (error != cudaSuccess)
        throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

// Makes a device current for the length of a scope.
class DeviceScope {
public:
    explicit DeviceScope(int device) {
        check_cuda(cudaGetDevice(&before_), "cudaGetDevice");
        if (before_ != device) check_cuda(cudaSetDevice(device), "cudaSetDevice");
        changed_ = before_ != device;
    }
    ~DeviceScope() {
        if (changed_) cudaSetDevice(before_);
    }
    DeviceScope(const DeviceScope&) = delete;
    DeviceScope& operator=(const DeviceScope&) = delete;

private:
    int before_ = 0;
    bool changed_ = false;
};

// Enqueues `kernel`. Where the host compiler alone reads this, which is how the tests run the kernels on machines
// without a GPU, tests/ops/cuda_on_cpu stands in for CUDA.
template <class... Params, class... Args>
void launch_kernel(void (*kernel)(Params...), dim3 grid, unsigned block, cudaStream_t stream, const Args&... args) {
#if defined(__CUDACC__)
    kernel<<<grid, block, 0, stream>>>(args...);
#else
    (void)stream;
    run_grid(grid, block, [&] { kernel(args...); });
#endif
}

}  // namespace vaefast
