// The class behind Python's _core.Optimizer: hyperparameters and transforms.
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

/// Reads a pair of factors (learning_rate, weight_decay); None or null for 1 and 1. TypeError or ValueError
/// if they do not fit.
Factors read_factors(py::handle given);

/// Reads runs (steps, factor of learning_rate, factor of weight_decay); None if all factors are 1.
std::vector<FactorRun> read_factor_runs(const py::object& given);

}  // namespace nncore::bindings
