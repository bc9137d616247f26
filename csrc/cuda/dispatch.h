// From the arguments of an op to kernels enqueued for its element type, on its device and stream.
#pragma once

#include "../core/dtype.h"
#include "check.h"
#include "element.h"

namespace vaefast {

// enqueue(stream), with the target's device current.
template <class Enqueue>
void on_device(CudaTarget target, const char* name, const Enqueue& enqueue) {
    const DeviceScope scope(target.device);
    enqueue(static_cast<cudaStream_t>(target.stream));
    check_cuda(cudaGetLastError(), name);
}

// enqueue(T(), stream), where T is the type of the tensors' elements.
template <class Enqueue>
void for_elements(DType dtype, CudaTarget target, const char* name, const Enqueue& enqueue) {
    on_device(target, name, [&](cudaStream_t stream) {
        switch (dtype) {
            case DType::float32: enqueue(float(), stream); break;
            case DType::float64: enqueue(double(), stream); break;
            case DType::bfloat16: enqueue(__nv_bfloat16(), stream); break;
            case DType::float16: enqueue(__half(), stream); break;
        }
    });
}

}  // namespace vaefast
