#pragma once

namespace vaefast {

// Where a kernel is launched: a device by its CUDA index, and a cudaStream_t of it.
struct CudaTarget {
    int device;
    void* stream;
};

}  // namespace vaefast
