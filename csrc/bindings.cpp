// vaefast._C: addresses, sizes, strides and a stream from Python to the launchers. No arithmetic here,
// and nothing of torch: an address is an integer, and whoever calls keeps the memory alive.
//
// A kernel NAME becomes NAME_cpu(fields..., threads) and NAME_cuda(fields..., device, stream), the fields as its
// argument struct lists them.
#include <pybind11/pybind11.h>

#include <string>
#include <type_traits>

#include "core/philox.h"
#include "cpu/kernels.h"
#if defined(VAEFAST_WITH_CUDA)
#include "cuda/kernels.h"
#include "cuda/launch.h"
#endif

namespace py = pybind11;
using namespace vaefast;

namespace {

template <class T>
void assign(T& field, py::handle value) {
    if constexpr (std::is_pointer_v<T>) field = reinterpret_cast<T>(value.cast<std::uintptr_t>());
    else if constexpr (std::is_enum_v<T>) field = T(value.cast<int>());
    else field = value.cast<T>();
}

// The argument struct from the leading values; `rest` more must follow.
template <class Args>
Args args_from(const py::args& values, std::size_t rest) {
    Args args{};
    args.fields([&](auto&... field) {
        if (values.size() != sizeof...(field) + rest)
            throw py::type_error("expected " + std::to_string(sizeof...(field) + rest) + " arguments, got " +
                                 std::to_string(values.size()));
        std::size_t i = 0;
        (assign(field, values[i++]), ...);
    });
    return args;
}

template <class Args>
void def_cpu(py::module_& m, const char* name, void (*kernel)(const Args&)) {
    m.def((std::string(name) + "_cpu").c_str(), [kernel](const py::args& values) {
        Args args = args_from<Args>(values, 1);
        args.threads = values[values.size() - 1].cast<int>();
        py::gil_scoped_release unlocked;
        kernel(args);
    });
}

#if defined(VAEFAST_WITH_CUDA)
template <class Args>
void def_cuda(py::module_& m, const char* name, void (*kernel)(const Args&, CudaTarget)) {
    m.def((std::string(name) + "_cuda").c_str(), [kernel](const py::args& values) {
        const Args args = args_from<Args>(values, 2);
        CudaTarget target{};
        assign(target.device, values[values.size() - 2]);
        assign(target.stream, values[values.size() - 1]);
        kernel(args, target);
    });
}
#define VAEFAST_DEF(name)                 \
    def_cpu(m, #name, VAEFAST_PICK(name)); \
    def_cuda(m, #name, &name##_cuda)
#else
#define VAEFAST_DEF(name) def_cpu(m, #name, VAEFAST_PICK(name))
#endif

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

}  // namespace

PYBIND11_MODULE(_C, m) {
    m.doc() = "Compiled kernels of vaefast. Private: vaefast.ops checks arguments and calls in here.";
#if defined(VAEFAST_WITH_CUDA)
    m.attr("with_cuda") = true;
#else
    m.attr("with_cuda") = false;
#endif
    m.def("cpu_level", &cpu_level);
    m.def("philox4x32_10", &philox_of);
    m.def("noise_words", &noise_words_of);

    VAEFAST_DEF(error_sums_forward);
    VAEFAST_DEF(error_sums_backward);
    VAEFAST_DEF(mixture_density_forward);
    VAEFAST_DEF(mixture_density_backward);
    VAEFAST_DEF(mixture_moments_forward);
    VAEFAST_DEF(mixture_moments_backward);
    def_cpu(m, "mmd_center", VAEFAST_PICK(mmd_center));
    VAEFAST_DEF(mmd_pairs);
    VAEFAST_DEF(reparam_kl_forward);
    VAEFAST_DEF(reparam_kl_backward);
#if defined(VAEFAST_WITH_CUDA)
    def_cuda(m, "mixture_density_forward_products", &mixture_density_forward_products_cuda);
    def_cuda(m, "mixture_density_backward_products", &mixture_density_backward_products_cuda);
    def_cuda(m, "mixture_kl_forward", &mixture_kl_forward_cuda);
    def_cuda(m, "mixture_kl_backward", &mixture_kl_backward_cuda);
    def_cuda(m, "mmd_products", &mmd_products_cuda);
    def_cuda(m, "scaled_nll_forward", &scaled_nll_forward_cuda);
    def_cuda(m, "scaled_nll_backward", &scaled_nll_backward_cuda);
#endif
}
