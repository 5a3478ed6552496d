// How problems are printed: with file, line, column, the line itself and a caret below what is wrong.
#pragma once

#include <string>

#include "launcher/text/problem.hpp"

namespace launcher::inline text {

class TomlDocument;

// The message a person reads (colour only when asked), in the form DESIGN.md shows; document may be null.
std::string render(const Problem& problem, const TomlDocument* document, bool colour);
std::string render(const Problems& problems, const TomlDocument* document, bool colour);
// [{"key":..,"what":..,"help":..,"file":..,"line":..,"column":..}, ...]
std::string problems_to_json(const Problems& problems, const TomlDocument* document);

}  // namespace launcher::text
