#if defined(__x86_64__)
#define NNCORE_VECTOR_BYTES 32
#include "kernels.hpp"

constexpr nncore::kernels::InstructionSet nncore::kernels::avx2{"avx2", &kFloat32, &kFloat64};
#endif
