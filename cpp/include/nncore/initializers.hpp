// Initializers: the numbers that parameters start from.
#pragma once

#include <cstdint>

#include "nncore/entries.hpp"
#include "nncore/random.hpp"

namespace nncore {

enum class InitializerKind { zeros, constant, glorot_uniform, glorot_normal, he_uniform, he_normal, normal };

/// A kind and its parameters; parameters that the kind does not have are 0.
struct Initializer {
  InitializerKind kind = InitializerKind::zeros;
  double value = 0.0;
  double standard_deviation = 0.0;

  /// With the parameters that the entry tells.
  constexpr Initializer(
      InitializerKind kind = InitializerKind::zeros);  // NOLINT(google-explicit-constructor)
  bool operator==(const Initializer&) const = default;
};

/// How the numbers of a kind are spread.
enum class Distribution { constant, uniform, normal };
/// What the scale of a kind is divided by before the root is taken: of a weight (O, I), I or I + O.
enum class Fan { none, in, in_and_out };

struct InitializerEntry {
  InitializerKind kind;
  const char* name;        ///< in C++, Python, files and docs
  const char* class_name;  ///< of Python's class
  Parameter<Initializer> parameters[1] = {};
  Distribution distribution = Distribution::constant;
  Fan fan = Fan::none;     ///< not none: only for weights
  double numerator = 0.0;  ///< with a fan, the scale is sqrt(numerator / fan)
  const char* summary;     ///< the class's docstring
};

inline constexpr InitializerEntry kInitializers[] = {
    {.kind = InitializerKind::zeros, .name = "zeros", .class_name = "Zeros", .summary = "Every number 0."},
    {.kind = InitializerKind::constant,
     .name = "constant",
     .class_name = "Constant",
     .parameters = {{"value", &Initializer::value, 0.0, kAnyNumber, "the number"}},
     .summary = "Every number `value`."},
    {.kind = InitializerKind::glorot_uniform,
     .name = "glorot_uniform",
     .class_name = "GlorotUniform",
     .distribution = Distribution::uniform,
     .fan = Fan::in_and_out,
     .numerator = 6.0,
     .summary = "Uniform in (-a, a), a = sqrt(6 / (I + O)) (Glorot and Bengio 2010). Weights only."},
    {.kind = InitializerKind::glorot_normal,
     .name = "glorot_normal",
     .class_name = "GlorotNormal",
     .distribution = Distribution::normal,
     .fan = Fan::in_and_out,
     .numerator = 2.0,
     .summary = "Normal with variance 2 / (I + O) (Glorot and Bengio 2010). Weights only."},
    {.kind = InitializerKind::he_uniform,
     .name = "he_uniform",
     .class_name = "HeUniform",
     .distribution = Distribution::uniform,
     .fan = Fan::in,
     .numerator = 6.0,
     .summary = "Uniform in (-a, a), a = sqrt(6 / I) (He et al. 2015). Weights only."},
    {.kind = InitializerKind::he_normal,
     .name = "he_normal",
     .class_name = "HeNormal",
     .distribution = Distribution::normal,
     .fan = Fan::in,
     .numerator = 2.0,
     .summary = "Normal with variance 2 / I (He et al. 2015). Weights only."},
    {.kind = InitializerKind::normal,
     .name = "normal",
     .class_name = "Normal",
     .parameters = {{"standard_deviation", &Initializer::standard_deviation, 1.0, kNotNegative,
                     "how far the numbers spread"}},
     .distribution = Distribution::normal,
     .summary = "Normal around 0, as embeddings start."},
};
static_assert(is_in_order(kInitializers));

constexpr const InitializerEntry& entry_of(InitializerKind kind) {
  return kInitializers[static_cast<std::size_t>(kind)];
}

constexpr Initializer::Initializer(InitializerKind kind_) : kind(kind_) {
  for (const Parameter<Initializer>& parameter : entry_of(kind_).parameters)
    if (parameter.name != nullptr) this->*parameter.field = parameter.initial;
}

/// Throws std::invalid_argument for a parameter outside its range.
void validate(const Initializer& initializer);

/// Fills the numbers of a weight that sums `fan_in` inputs and feeds `fan_out` outputs.
template <class T>
void initialize(const Initializer& initializer, RandomStream stream, std::int64_t fan_in,
                std::int64_t fan_out, T* out, std::int64_t count);

}  // namespace nncore
