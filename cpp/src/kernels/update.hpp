// Optimizer updates of parameters p from gradients g, as nncore/optimizers.hpp states them. Every product
// and sum is rounded by itself: the loops wait for memory, division and root, and a set without fused
// operations loses nothing.
#pragma once

#include "elementary.hpp"
#include "table.hpp"
#include "vec.hpp"

namespace {

using nncore::kernels::UpdateScalars;

/// Zero instead of a subnormal number. The moment of a parameter whose gradient has become zero (a relu that
/// is never active) shrinks until it is subnormal, and would stay there: the smallest one times 0.9 rounds to
/// itself. Every step would then pay the processor's slow path for it; measured: 12 times the update.
template <class T>
NNCORE_INLINE Vec<T> without_subnormals(Vec<T> v) {
  const T smallest = Format<T>::smallest_normal;
  return (v < smallest) & (v > -smallest) ? Vec<T>{} : v;
}

template <class T>
void sgd_update(const UpdateScalars<T>& s, T* p, const T* g, T*, T*, int64_t count) {
  for_each_vector<T>(count, [=, rate = s.learning_rate](auto load, auto store)
                                __attribute__((always_inline)) { store(p, load(p) - rate * load(g)); });
}

/// momentum, or with the look-ahead of Nesterov.
template <class T, bool kNesterov>
void momentum_update(const UpdateScalars<T>& scalars, T* p, const T* g, T* m, T*, int64_t count) {
  for_each_vector<T>(count, [=, s = scalars](auto load, auto store) __attribute__((always_inline)) {
    const Vec<T> gradient = load(g);
    const Vec<T> moment = without_subnormals<T>(s.momentum * load(m) + gradient);
    const Vec<T> direction = kNesterov ? gradient + s.momentum * moment : moment;
    store(m, moment);
    store(p, load(p) - s.learning_rate * direction);
  });
}

template <class T>
void adam_update(const UpdateScalars<T>& scalars, T* p, const T* g, T* m, T* v, int64_t count) {
  for_each_vector<T>(count, [=, s = scalars](auto load, auto store) __attribute__((always_inline)) {
    const Vec<T> gradient = load(g);
    const Vec<T> first = without_subnormals<T>(s.beta1 * load(m) + s.one_minus_beta1 * gradient);
    const Vec<T> second = without_subnormals<T>(s.beta2 * load(v) + s.one_minus_beta2 * gradient * gradient);
    const Vec<T> root = sqrt(second) * s.inverse_root_correction2 + s.epsilon;
    store(m, first);
    store(v, second);
    store(p, load(p) * s.decay_factor - s.learning_rate * (first / root));
  });
}

template <class T>
constexpr void add_update_kernels(nncore::kernels::Kernels<T>& k) {
  using nncore::OptimizerKind;
  const auto update = [&k](OptimizerKind kind) -> auto& { return k.update[static_cast<int>(kind)]; };
  update(OptimizerKind::sgd) = sgd_update<T>;
  update(OptimizerKind::momentum) = momentum_update<T, false>;
  update(OptimizerKind::nesterov) = momentum_update<T, true>;
  update(OptimizerKind::adam) = update(OptimizerKind::adamw) = adam_update<T>;
}

}  // namespace
