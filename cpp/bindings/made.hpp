// Objects of the core's classes that were made by their __init__.
//
// X.__new__(X) makes one that was not. pybind11 would hand out raw memory for it; here it is a TypeError. The
// specialisations stand in a header that all files with bindings include, so that all of them see the same.
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

/// A caster of pybind11's that takes only what was made.
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
