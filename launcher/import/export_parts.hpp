// A libvirt domain in the making, for export_*.cpp only.
#pragma once

#include <string>
#include <string_view>

#include "launcher/import/report.hpp"
#include "launcher/import/xml.hpp"
#include "launcher/plan/plan.hpp"
#include "launcher/spec/spec.hpp"

namespace launcher::inline import {

struct Domain {
  const Spec& spec;
  const LaunchPlan& plan;
  XmlElement root = {};
  Report report = {};

  void row(const std::string& path, Verb verb, const std::string& words) {
    report.push_back({path, 0, "", verb, words});
  }
  std::string arg(std::string_view option) const;  // the value of the plan's first such argument
  std::string cpu_model() const;
  bool shares_memory() const;
  void hyperv(XmlElement& features);
  void devices(XmlElement& devices);
  void odd_paths(const XmlElement& element);                    // reports them
  void place(XmlElement& device, const std::string& id) const;  // the PCI place that the plan gives to it
};

}  // namespace launcher::import
