// vaefast._C: addresses, sizes, strides and a stream from Python to the launchers. No arithmetic here,
// and nothing of torch: an address is an integer, and whoever calls keeps the memory alive.
#include <pybind11/pybind11.h>

#include "core/philox.h"
#include "cpu/reparam_kl.h"
#if defined(VAEFAST_WITH_CUDA)
#include "cuda/launch.h"
#include "cuda/reparam_kl.h"
#endif

namespace py = pybind11;
using namespace vaefast;

namespace {

using Address = std::uintptr_t;

template <class T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

// The four words of noise group `group`, for tests against the published vectors.
py::tuple noise_words_of(std::uint64_t seed, std::uint64_t group, std::uint32_t stream) {
    const Words4 w = noise_words(seed, group, stream);
    return py::make_tuple(w.w0, w.w1, w.w2, w.w3);
}

py::tuple philox_of(std::uint32_t c0, std::uint32_t c1, std::uint32_t c2, std::uint32_t c3, std::uint32_t key0,
                    std::uint32_t key1) {
    const Words4 w = philox4x32_10({c0, c1, c2, c3}, key0, key1);
    return py::make_tuple(w.w0, w.w1, w.w2, w.w3);
}

ReparamKlForward forward_args(Address mu, Address scale, Address seed, Address z, Address kl, std::int64_t rows,
                              std::int64_t k, std::int64_t mu_stride, std::int64_t scale_stride,
                              std::int64_t row_offset, int dtype, int param) {
    return {at<void>(mu), at<void>(scale), at<const int64_t>(seed), at<void>(z), at<void>(kl), rows, k, mu_stride,
            scale_stride, row_offset, DType(dtype), ScaleParam(param), 1};
}

ReparamKlBackward backward_args(Address grad_z, Address grad_kl, Address mu, Address scale, Address seed,
                                Address grad_mu, Address grad_scale, std::int64_t rows, std::int64_t k,
                                std::int64_t grad_z_stride, std::int64_t grad_kl_stride, std::int64_t mu_stride,
                                std::int64_t scale_stride, std::int64_t row_offset, int dtype, int param) {
    return {at<void>(grad_z), at<void>(grad_kl), at<void>(mu), at<void>(scale), at<const int64_t>(seed),
            at<void>(grad_mu), at<void>(grad_scale), rows, k, grad_z_stride, grad_kl_stride, mu_stride,
            scale_stride, row_offset, DType(dtype), ScaleParam(param), 1};
}

template <class Kernel, class Args>
void run_on_cpu(Kernel kernel, Args args, int threads) {
    args.threads = threads;
    py::gil_scoped_release unlocked;
    kernel(args);
}

}  // namespace

PYBIND11_MODULE(_C, m) {
    m.doc() = "Compiled kernels of vaefast. Private: vaefast.ops checks arguments and calls in here.";

    m.def("cpu_level", &cpu_level);
    m.def("philox4x32_10", &philox_of);
    m.def("noise_words", &noise_words_of);

    m.def("reparam_kl_forward_cpu",
          [](Address mu, Address scale, Address seed, Address z, Address kl, std::int64_t rows, std::int64_t k,
             std::int64_t mu_stride, std::int64_t scale_stride, std::int64_t row_offset, int dtype, int param,
             int threads) {
              run_on_cpu(VAEFAST_PICK(reparam_kl_forward),
                         forward_args(mu, scale, seed, z, kl, rows, k, mu_stride, scale_stride, row_offset, dtype, param),
                         threads);
          });
    m.def("reparam_kl_backward_cpu",
          [](Address grad_z, Address grad_kl, Address mu, Address scale, Address seed, Address grad_mu,
             Address grad_scale, std::int64_t rows, std::int64_t k, std::int64_t grad_z_stride,
             std::int64_t grad_kl_stride, std::int64_t mu_stride, std::int64_t scale_stride, std::int64_t row_offset,
             int dtype, int param, int threads) {
              run_on_cpu(VAEFAST_PICK(reparam_kl_backward),
                         backward_args(grad_z, grad_kl, mu, scale, seed, grad_mu, grad_scale, rows, k, grad_z_stride,
                                       grad_kl_stride, mu_stride, scale_stride, row_offset, dtype, param),
                         threads);
          });

#if defined(VAEFAST_WITH_CUDA)
    m.attr("with_cuda") = true;
    m.def("reparam_kl_forward_cuda",
          [](Address mu, Address scale, Address seed, Address z, Address kl, std::int64_t rows, std::int64_t k,
             std::int64_t mu_stride, std::int64_t scale_stride, std::int64_t row_offset, int dtype, int param,
             int device, Address stream) {
              reparam_kl_forward_cuda(
                  forward_args(mu, scale, seed, z, kl, rows, k, mu_stride, scale_stride, row_offset, dtype, param),
                  CudaTarget{device, at<void>(stream)});
          });
    m.def("reparam_kl_backward_cuda",
          [](Address grad_z, Address grad_kl, Address mu, Address scale, Address seed, Address grad_mu,
             Address grad_scale, std::int64_t rows, std::int64_t k, std::int64_t grad_z_stride,
             std::int64_t grad_kl_stride, std::int64_t mu_stride, std::int64_t scale_stride, std::int64_t row_offset,
             int dtype, int param, int device, Address stream) {
              reparam_kl_backward_cuda(
                  backward_args(grad_z, grad_kl, mu, scale, seed, grad_mu, grad_scale, rows, k, grad_z_stride,
                                grad_kl_stride, mu_stride, scale_stride, row_offset, dtype, param),
                  CudaTarget{device, at<void>(stream)});
          });
#else
    m.attr("with_cuda") = false;
#endif
}
