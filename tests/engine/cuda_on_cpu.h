// A CUDA program as C++: kernels are loops over their threads, device memory is other memory of the
// host. Included by every header that brian2cuda's code takes from CUDA (see cuda_on_cpu.py).
// With the environment variable BACKWARD the threads of a launch run in the opposite order. At its end
// the program prints how many kernels it launched.
#pragma once
#define CURAND_H_
#define __CUDA_ARCH__ 900
#define __global__
#define __shared__ static
#define __device__
#define __host__

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

struct position { int x; };
inline position threadIdx, blockIdx, blockDim;

struct counter
{
    long n = 0;
    ~counter() { std::printf("launches %ld\n", n); }
};
inline counter launches;

template <class Kernel> void launch(int blocks, int threads, Kernel kernel)
{
    static const bool backward = std::getenv("BACKWARD") != nullptr;
    launches.n++;
    blockDim.x = threads;
    const int n = blocks * threads;
    for (int i = 0; i < n; i++)
    {
        const int k = backward ? n - 1 - i : i;
        blockIdx.x = k / threads;
        threadIdx.x = k % threads;
        kernel();
    }
}

// every thread is a warp of its own; see cuda_warp.h
constexpr int warpSize = 1;
inline unsigned __activemask() { return 1; }
template <class T> unsigned __match_any_sync(unsigned threads, T) { return threads; }
inline unsigned __ballot_sync(unsigned, bool value) { return value; }
inline bool __any_sync(unsigned, bool value) { return value; }
inline void __syncwarp(unsigned) {}
#define __popc __builtin_popcount
#define __ffs __builtin_ffs
#define __ffsll __builtin_ffsll
inline void __syncthreads() {}
inline void __threadfence() {}
using std::max;
using std::min;

template <class T, class U> T atomicAdd(T *address, U value)
{
    const T before = *address;
    *address += (T)value;
    return before;
}
template <class T> T atomicCAS(T *address, T expected, T value)
{
    const T before = *address;
    if (before == expected) *address = value;
    return before;
}
template <class To, class From> To bits(From value)
{
    To out;
    std::memcpy(&out, &value, sizeof(out));
    return out;
}
#define __float_as_int bits<int, float>
#define __int_as_float bits<float, int>
#define __double_as_longlong bits<unsigned long long, double>
#define __longlong_as_double bits<double, unsigned long long>

enum cudaError { cudaSuccess };
typedef cudaError cudaError_t;
enum { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum { cudaLimitMallocHeapSize };
struct cudaDeviceProp
{
    int multiProcessorCount = 1, maxThreadsPerBlock = 1024, maxThreadsPerMultiProcessor = 2048;
    int sharedMemPerBlock = 49152, warpSize = 32;
};
struct cudaFuncAttributes
{
    int numRegs = 0, maxThreadsPerBlock = 1024;
    size_t sharedSizeBytes = 0, localSizeBytes = 0, constSizeBytes = 0;
};
inline cudaError cudaMalloc(void **pointer, size_t size)
{
    *pointer = std::malloc(size + 1);
    std::memset(*pointer, 0x7f, size);  // as on a GPU, nothing to rely on
    return cudaSuccess;
}
template <class T> cudaError cudaMalloc(T **pointer, size_t size)
{
    return cudaMalloc((void **)pointer, size);
}
template <class T> cudaError cudaFree(T *pointer)
{
    std::free((void *)pointer);
    return cudaSuccess;
}
template <class T, class U> cudaError cudaMemcpy(T *to, const U *from, size_t size, int)
{
    std::memcpy((void *)to, (const void *)from, size);
    return cudaSuccess;
}
template <class T, class U> cudaError cudaMemcpyToSymbol(T &symbol, const U *from, size_t size)
{
    std::memcpy((void *)&symbol, (const void *)from, size);
    return cudaSuccess;
}
template <class T> cudaError cudaMemset(T *to, int value, size_t size)
{
    std::memset((void *)to, value, size);
    return cudaSuccess;
}
template <class Kernel>
cudaError cudaOccupancyMaxPotentialBlockSize(int *least, int *threads, Kernel, int, int limit)
{
    *least = 1;
    *threads = limit ? limit : 1024;
    return cudaSuccess;
}
template <class Kernel>
cudaError cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, Kernel, int, size_t)
{
    *blocks = 1;
    return cudaSuccess;
}
template <class Kernel> cudaError cudaFuncGetAttributes(cudaFuncAttributes *, Kernel)
{
    return cudaSuccess;
}
inline cudaError cudaGetDeviceProperties(cudaDeviceProp *, int) { return cudaSuccess; }
inline cudaError cudaDeviceSetLimit(int, size_t) { return cudaSuccess; }
inline cudaError cudaDeviceSynchronize() { return cudaSuccess; }
inline cudaError cudaGetLastError() { return cudaSuccess; }
inline cudaError cudaProfilerStop() { return cudaSuccess; }
inline cudaError cudaSetDevice(int) { return cudaSuccess; }
inline const char *cudaGetErrorString(cudaError) { return ""; }
inline cudaError cudaMemGetInfo(size_t *free, size_t *total)
{
    *free = 1 << 20;
    *total = 3 << 20;
    return cudaSuccess;
}

enum curandStatus_t
{
    CURAND_STATUS_SUCCESS, CURAND_STATUS_VERSION_MISMATCH, CURAND_STATUS_NOT_INITIALIZED,
    CURAND_STATUS_ALLOCATION_FAILED, CURAND_STATUS_TYPE_ERROR, CURAND_STATUS_OUT_OF_RANGE,
    CURAND_STATUS_LENGTH_NOT_MULTIPLE, CURAND_STATUS_DOUBLE_PRECISION_REQUIRED,
    CURAND_STATUS_LAUNCH_FAILURE, CURAND_STATUS_PREEXISTING_FAILURE,
    CURAND_STATUS_INITIALIZATION_FAILED, CURAND_STATUS_ARCH_MISMATCH, CURAND_STATUS_INTERNAL_ERROR
};
enum { CURAND_RNG_PSEUDO_DEFAULT };
struct curandState {};
typedef int curandGenerator_t;
[[noreturn]] inline void no_random_numbers()
{
    std::fprintf(stderr, "a random number was drawn\n");
    std::exit(1);
}
template <class... A> curandStatus_t curandCreateGenerator(A...) { return CURAND_STATUS_SUCCESS; }
template <class... A> curandStatus_t curandDestroyGenerator(A...) { return CURAND_STATUS_SUCCESS; }
template <class... A> curandStatus_t curandSetGeneratorOffset(A...) { return CURAND_STATUS_SUCCESS; }
template <class... A> curandStatus_t curandSetPseudoRandomGeneratorSeed(A...)
{
    return CURAND_STATUS_SUCCESS;
}
template <class... A> curandStatus_t curandGenerateUniform(A...) { no_random_numbers(); }
template <class... A> curandStatus_t curandGenerateUniformDouble(A...) { no_random_numbers(); }
template <class... A> curandStatus_t curandGenerateNormal(A...) { no_random_numbers(); }
template <class... A> curandStatus_t curandGenerateNormalDouble(A...) { no_random_numbers(); }
template <class... A> curandStatus_t curandGeneratePoisson(A...) { no_random_numbers(); }
template <class... A> void curand_init(A...) {}

namespace thrust
{
template <class T> struct host_vector : std::vector<T>
{
    using std::vector<T>::vector;
};
template <class T> struct device_vector : std::vector<T>
{
    using std::vector<T>::vector;
    device_vector() = default;
    device_vector(const host_vector<T> &other) : std::vector<T>(other) {}
    operator host_vector<T>() const { return host_vector<T>(this->begin(), this->end()); }
};
template <class T> T *raw_pointer_cast(T *pointer) { return pointer; }
template <class A, class B> using pair = std::pair<A, B>;
// only queues of different delays need these
template <class... A> void sequence(A...) { std::abort(); }
template <class... A> void sort_by_key(A...) { std::abort(); }
template <class A, class B> pair<A, B> unique_by_key(A, A, B) { std::abort(); }
}
