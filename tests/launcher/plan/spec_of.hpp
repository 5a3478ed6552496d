// A spec from TOML text that has to be right.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "launcher/spec/read_spec.hpp"

inline launcher::Spec spec_of(const std::string& toml) {
  const auto document = launcher::TomlDocument::parse(toml, "spec.toml");
  REQUIRE(document);
  launcher::Problems problems;
  launcher::Spec spec = launcher::read_document(*document, problems);
  for (const launcher::Problem& problem : problems) FAIL(problem.key << ": " << problem.what);
  return spec;
}
