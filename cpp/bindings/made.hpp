// Checks that an object of one of the core's classes was initialized.
//
// X.__new__(X) makes an object whose __init__ has not run. pybind11 would pass raw memory for it; here it
// raises TypeError. All files with bindings include this header, so that they all see the same
// specializations.
#pragma once

#include <pybind11/pybind11.h>

#include <concepts>
#include <string>

#include "bound_optimizer.hpp"
#include "nncore/graph.hpp"
#include "nncore/losses.hpp"
#include "nncore/network.hpp"
#include "nncore/optimizers.hpp"
#include "nncore/parameters.hpp"

namespace nncore::bindings {

template <class T>
class BoundNetwork;
struct BoundTransform;
struct PlannedObjective;
class StoreGuard;

/// A pybind11 caster that rejects objects whose __init__ has not run.
template <class T>
class MadeCaster : public py::detail::type_caster_base<T> {
 public:
  bool load(py::handle given, bool convert) {
    if (given && py::isinstance<T>(given)) {
      auto* const instance = reinterpret_cast<py::detail::instance*>(given.ptr());
      if (instance->get_value_and_holder().value_ptr() == nullptr)
        throw py::type_error(std::string("an object of class ") + Py_TYPE(given.ptr())->tp_name +
                             " must be made by calling its class; got one whose __init__ was not called");
    }
    return py::detail::type_caster_base<T>::load(given, convert);
  }
};

template <class T, class... Others>
concept IsOneOf = (std::same_as<T, Others> || ...);

template <class T>
concept IsBound =
    IsOneOf<T, Loss, Segment, Node, Graph, PlannedObjective, EpochResult, BoundOptimizer, Parameters<float>,
            Parameters<double>, OptimizerState<float>, OptimizerState<double>, BoundNetwork<float>,
            BoundNetwork<double>, BoundTransform, StoreGuard>;

}  // namespace nncore::bindings

namespace pybind11::detail {

template <nncore::bindings::IsBound T>
class type_caster<T> : public nncore::bindings::MadeCaster<T> {};

}  // namespace pybind11::detail
