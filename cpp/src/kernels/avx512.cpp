#if defined(__x86_64__)
#define NNCORE_VECTOR_BYTES 64
#include "kernels.hpp"

constexpr nncore::kernels::InstructionSet nncore::kernels::avx512{"avx512", &kFloat32, &kFloat64};
#endif
