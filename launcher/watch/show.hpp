// A window for a person, and for a program.
#pragma once

#include <boost/json/fwd.hpp>
#include <string>

#include "launcher/watch/run.hpp"

namespace launcher::inline watch {

std::string threads_text(const Window& window, unsigned width);  // a line for each thread, who waited most first
std::string to_text(const Offender& one);
std::string to_text(const Watched& watched, unsigned width);
boost::json::object to_json(const std::string& name, const Watched& watched);  // version 1

}  // namespace launcher::watch
