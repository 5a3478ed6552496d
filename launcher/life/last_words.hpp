// What a process that has ended wrote last, and how a failure is put into one sentence. The rule: bounded, whatever was written.
#pragma once

#include <exception>
#include <string>

#include "launcher/plan/plan.hpp"

namespace launcher::inline life {

// Where a helper's words go; "" if the plan has none of this role.
std::string log_of(const LaunchPlan& plan, const std::string& role);

// What QEMU (or a helper) wrote last, by its log; "" when it wrote nothing.
std::string last_lines(const std::string& path);

// "a: b: c" of a nested exception.
std::string whole_story(const std::exception& error);

}  // namespace launcher::life
