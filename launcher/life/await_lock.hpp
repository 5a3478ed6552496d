// The lock, for whoever may have to wait for it. The rule: a wait is told after a moment, and can be left.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "launcher/steps/vm_dir.hpp"

namespace launcher::inline life {

// idle: called some twenty times a second while it waits; may throw to leave. Both may be empty.
Lock await_lock(const std::filesystem::path& base, const std::function<void(const std::string&)>& say,
                const std::function<void()>& idle = {});

}  // namespace launcher::life
