// All kernels of one instruction set, gathered into its table. Exactly one translation unit per set
// (baseline.cpp, avx2.cpp, ...) includes this file and defines the register size and the name of the set.
#pragma once

#include "table.hpp"
#include "vec.hpp"
//
#include "elementary.hpp"
//
#include "activations.hpp"
#include "columns.hpp"
#include "elementwise.hpp"
#include "fused_sgd.hpp"
#include "losses.hpp"
#include "magnitude.hpp"
#include "narrow.hpp"
#include "pack.hpp"
#include "philox.hpp"
#include "rank1_update.hpp"
#include "sparse.hpp"
#include "strip.hpp"
#include "tile.hpp"
#include "updates.hpp"

namespace {

template <class T>
constexpr nncore::kernels::Kernels<T> make_kernels() {
  nncore::kernels::Kernels<T> k{};
  k.lanes = kLanes<T>;
  add_tile_kernels<T>(k);
  add_rank1_update_kernels<T>(k);
  add_strip_kernels<T>(k);
  add_column_kernels<T>(k);
  add_fused_sgd_kernels<T>(k);
  add_pack_kernels<T>(k);
  add_narrow_kernels<T>(k);
  add_sparse_kernels<T>(k);
  add_elementwise_kernels<T>(k);
  add_activation_kernels<T>(k);
  add_loss_kernels<T>(k);
  add_magnitude_kernels<T>(k);
  k.philox = philox_bits;
  add_update_kernels<T>(k);
  return k;
}

constexpr nncore::kernels::Kernels<float> kFloat32 = make_kernels<float>();
constexpr nncore::kernels::Kernels<double> kFloat64 = make_kernels<double>();

}  // namespace
