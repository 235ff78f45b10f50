// What Python's _core.Optimizer is: hyperparameters, and transforms.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <vector>

#include "nncore/network.hpp"
#include "nncore/optimizers.hpp"
#include "nncore/transforms.hpp"

namespace nncore::bindings {

namespace py = pybind11;

struct BoundOptimizer {
  Optimizer settings;
  std::vector<std::shared_ptr<const Transform>> transforms;
};

/// (learning rate's, weight decay's); None or null: both are 1. TypeError, ValueError.
Factors read_factors(py::handle given);

/// Runs (steps, learning rate's factor, weight decay's factor); None: all factors are 1.
std::vector<FactorRun> read_factor_runs(const py::object& given);

}  // namespace nncore::bindings
