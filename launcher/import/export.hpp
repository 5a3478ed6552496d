// A VM's plan as others run it: a libvirt domain, a shell script with QEMU alone, a unit of systemd-run. The rule: what they cannot say is
// in the report, by the spec's key or the plan's step.
#pragma once

#include <string>

#include "launcher/import/report.hpp"
#include "launcher/plan/plan.hpp"
#include "launcher/spec/spec.hpp"

namespace launcher::inline import {

struct Exported {
  std::string text;
  Report report;  // rows have no line
};
Exported export_libvirt(const Spec& spec, const LaunchPlan& plan);
enum class Runner { shell, systemd_run };
Exported export_shell(const Spec& spec, const LaunchPlan& plan, Runner runner);

}  // namespace launcher::import
