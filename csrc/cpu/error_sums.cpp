// Sums over rows of the error between data and reconstruction, and their gradients. Blocks of elements are brought
// into one type in the L1 cache, so that the arithmetic is compiled for float and double alone.
#include "kernels.h"

#include "convert.h"
#include "parallel.h"
#include "sum.h"

namespace vaefast::VAEFAST_ISA {
namespace {

constexpr int kBlock = 1024;  // elements at a time
constexpr int kLanes = 64;

int64_t at_most(int64_t n, int64_t limit) { return n < limit ? n : limit; }

template <ErrorKind K, bool Logits, class C>
struct Forward {
    // Plain and weighted sums of a block that lies within a row.
    static void add(const C* __restrict x, const C* __restrict a, const C* __restrict weight, int n, double& sum,
                    double& weighted) {
        alignas(64) C terms[kBlock];
        for (int j = 0; j < n; ++j) terms[j] = error_term<K, Logits>(x[j], a[j]);
        sum += double(ordered_sum<kLanes>(terms, n));
        if (!weight) return;
        for (int j = 0; j < n; ++j) terms[j] *= weight[j];
        weighted += double(ordered_sum<kLanes>(terms, n));
    }

    // Chunks unit0 .. unit1 - 1, counted along the rows.
    static void run(const ErrorSumsForward& a, int64_t unit0, int64_t unit1) {
        C *sums = static_cast<C*>(a.sums), *weighted = static_cast<C*>(a.weighted);
        const C* weight = static_cast<const C*>(a.weight);
        alignas(64) C x_room[kBlock], a_room[kBlock];
        // Short rows are read several at a time.
        const int64_t group = a.k <= kBlock / 2 ? kBlock / (a.k > 0 ? a.k : 1) : 1;
        for (int64_t unit = unit0; unit < unit1;) {
            const int64_t row = unit / a.chunks, column0 = unit % a.chunks * a.chunk;
            const int64_t rows = at_most(group, unit1 - unit), end = at_most(a.k, column0 + a.chunk);
            double sum = 0, scaled = 0;
            for (int64_t column = column0; rows == 1 && column < end; column += kBlock) {
                const int n = int(at_most(end - column, kBlock));
                const C* x = read_run(a.x, a.x_dtype, row * a.x_stride + column, n, x_room);
                const C* h = read_run(a.x_hat, a.dtype, row * a.x_hat_stride + column, n, a_room);
                add(x, h, weight ? weight + column : nullptr, n, sum, scaled);
            }
            if (rows == 1) {
                sums[unit] = C(sum);
                if (weighted) weighted[unit] = C(scaled);
                ++unit;
                continue;
            }
            const int k = int(a.k), count = int(rows) * k;
            const C* x = read_runs(a.x, a.x_dtype, row * a.x_stride, a.x_stride, int(rows), k, x_room);
            const C* h = read_runs(a.x_hat, a.dtype, row * a.x_hat_stride, a.x_hat_stride, int(rows), k, a_room);
            alignas(64) C terms[kBlock];
            for (int j = 0; j < count; ++j) terms[j] = error_term<K, Logits>(x[j], h[j]);
            for (int i = 0; i < rows; ++i) sums[unit + i] = ordered_sum<kLanes>(terms + i * k, k);
            for (int i = 0; weighted && i < rows; ++i) {
                for (int j = 0; j < k; ++j) terms[i * k + j] *= weight[j];
                weighted[unit + i] = ordered_sum<kLanes>(terms + i * k, k);
            }
            unit += rows;
        }
    }

    static void launch(const ErrorSumsForward& a) {
        parallel_rows(a.rows * a.chunks, at_most(a.k, a.chunk), a.threads,
                      [&](int64_t unit0, int64_t unit1) { run(a, unit0, unit1); });
    }
};

template <ErrorKind K, bool Logits, class C>
struct Backward {
    // Gradients of n elements whose errors count `factor` each.
    static void slopes(const ErrorSumsBackward& a, const C* __restrict x, const C* __restrict h,
                       const C* __restrict factor, int64_t first, int n) {
        alignas(64) C room[kBlock];
        if (a.grad_x_hat) {
            C* __restrict out = place_run(a.grad_x_hat, a.dtype, first, room);
            for (int j = 0; j < n; ++j) out[j] = factor[j] * error_slopes<K, Logits>(x[j], h[j]).to_a;
            write_run(a.grad_x_hat, a.dtype, first, n, out);
        }
        if (a.grad_x) {
            C* __restrict out = place_run(a.grad_x, a.x_dtype, first, room);
            for (int j = 0; j < n; ++j) out[j] = factor[j] * error_slopes<K, Logits>(x[j], h[j]).to_x;
            write_run(a.grad_x, a.x_dtype, first, n, out);
        }
    }

    static C given(const void* grad, int64_t stride, int64_t row) {
        return grad ? static_cast<const C*>(grad)[row * stride] : C(0);
    }

    // Without weights: whole rows.
    static void run(const ErrorSumsBackward& a, int64_t row0, int64_t row1) {
        alignas(64) C x_room[kBlock], a_room[kBlock], factor[kBlock];
        const int64_t group = a.k <= kBlock ? kBlock / (a.k > 0 ? a.k : 1) : 1;
        for (int64_t row = row0; row < row1; row += group) {
            const int rows = int(at_most(group, row1 - row)), width = int(at_most(a.k, kBlock));
            for (int i = 0; i < rows; ++i) {
                const C g = given(a.grad_sums, a.grad_sums_stride, row + i);
                for (int j = 0; j < width; ++j) factor[i * width + j] = g;
            }
            for (int64_t column = 0; column < a.k; column += kBlock) {
                const int n = int(at_most(a.k - column, kBlock));
                const C* x = read_runs(a.x, a.x_dtype, row * a.x_stride + column, a.x_stride, rows, n, x_room);
                const C* h = read_runs(a.x_hat, a.dtype, row * a.x_hat_stride + column, a.x_hat_stride, rows, n, a_room);
                slopes(a, x, h, factor, row * a.k + column, rows * n);
            }
        }
    }

    // With weights: a block of columns along some of the rows, which the gradient to the weights is summed over.
    static void run_weighted(const ErrorSumsBackward& a, int64_t column, int n, int64_t part) {
        const C* weight = static_cast<const C*>(a.weight) + column;
        alignas(64) C x_room[kBlock], a_room[kBlock], factor[kBlock];
        alignas(64) double total[kBlock] = {};
        for (int64_t row = a.rows * part / a.parts; row < a.rows * (part + 1) / a.parts; ++row) {
            const C* __restrict x = read_run(a.x, a.x_dtype, row * a.x_stride + column, n, x_room);
            const C* __restrict h = read_run(a.x_hat, a.dtype, row * a.x_hat_stride + column, n, a_room);
            const C plain = given(a.grad_sums, a.grad_sums_stride, row);
            const C g = given(a.grad_weighted, a.grad_weighted_stride, row);
            if (a.grad_weight)
                for (int j = 0; j < n; ++j) total[j] += double(g * error_term<K, Logits>(x[j], h[j]));
            for (int j = 0; j < n; ++j) factor[j] = plain + g * weight[j];
            slopes(a, x, h, factor, row * a.k + column, n);
        }
        if (a.grad_weight) memcpy(a.weight_parts + part * a.k + column, total, sizeof(double) * size_t(n));
    }

    static void launch(const ErrorSumsBackward& given_args) {
        ErrorSumsBackward a = given_args;
        if (!a.weight) {
            parallel_rows(a.rows, a.k, a.threads, [&](int64_t row0, int64_t row1) { run(a, row0, row1); });
            return;
        }
        if (!a.grad_weight) a.parts = a.rows / 256 + 1;
        const int64_t blocks = (a.k + kBlock - 1) / kBlock;
        parallel_rows(blocks * a.parts, at_most(a.k, kBlock) * (a.rows / a.parts), a.threads,
                      [&](int64_t unit0, int64_t unit1) {
                          for (int64_t unit = unit0; unit < unit1; ++unit) {
                              const int64_t column = unit % blocks * kBlock;
                              run_weighted(a, column, int(at_most(a.k - column, kBlock)), unit / blocks);
                          }
                      });
        for (int64_t j = 0; a.grad_weight && j < a.k; ++j) {
            double sum = 0;
            for (int64_t part = 0; part < a.parts; ++part) sum += a.weight_parts[part * a.k + j];
            static_cast<C*>(a.grad_weight)[j] = C(sum);
        }
    }
};

template <template <ErrorKind, bool, class> class Kernel, ErrorKind K, class Args>
void launch_kind(const Args& a) {
    const bool wide = a.dtype == DType::float64;
    if (a.from_logits) wide ? Kernel<K, true, double>::launch(a) : Kernel<K, true, float>::launch(a);
    else wide ? Kernel<K, false, double>::launch(a) : Kernel<K, false, float>::launch(a);
}

template <template <ErrorKind, bool, class> class Kernel, class Args>
void launch(const Args& a) {
    switch (a.kind) {
        case ErrorKind::squared: return launch_kind<Kernel, ErrorKind::squared>(a);
        case ErrorKind::absolute: return launch_kind<Kernel, ErrorKind::absolute>(a);
        case ErrorKind::cross_entropy: return launch_kind<Kernel, ErrorKind::cross_entropy>(a);
    }
}

}  // namespace

void error_sums_forward(const ErrorSumsForward& a) { launch<Forward>(a); }
void error_sums_backward(const ErrorSumsBackward& a) { launch<Backward>(a); }

}  // namespace vaefast::VAEFAST_ISA
