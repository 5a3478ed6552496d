// tests/records/<version>/: what each released format wrote. All of it is read as what it is today, or kept and told; and a form that
// changes is a new version.
#include <doctest/doctest.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "launcher/steps/vm_dir.hpp"
#include "tests/fakes/temp_dir.hpp"
#include "tests/launcher/steps/kinds.hpp"

namespace {

namespace fs = std::filesystem;
using namespace launcher;

const fs::path all_records = fs::path(VMRUN_TESTS) / "records";

struct Place {
  fakes::TempDir base;
  VmDir of(const fs::path& record) const {
    fs::copy(record, base / "db");
    return VmDir::find(base.path(), "db").value();
  }
};

// A VM's directory with every kind of step in its plan, and every kind of undo in its journal: all done but the last, the first begun to
// be undone.
void write_every_kind(const VmDir& dir) {
  boost::json::array steps;
  for (const Step& step : kinds::one_of_each())
    steps.push_back(boost::json::object{{"step", to_json(step)}, {"why", "a kind"}, {"origin", "test"}});
  const boost::json::object reservation{
      {"owner", "db"}, {"cpus", "2-3"}, {"pages", boost::json::array{}}, {"things", boost::json::array{}}};
  dir.write_plan(boost::json::serialize(
      boost::json::object{{"name", "db"}, {"reservation", reservation}, {"steps", std::move(steps)}}));
  const std::vector<Undo>& undos = kinds::one_undo_of_each();
  for (std::size_t number = 0; number < undos.size(); ++number) {
    dir.journal().begin(number, undos[number]);
    if (number + 1 < undos.size()) dir.journal().done(number);
  }
  dir.journal().undoing(0, 11);
}

std::vector<Step> steps_in(const VmDir& dir) {
  std::vector<Step> steps;
  const boost::json::value plan = dir.read_plan().value();
  for (const boost::json::value& planned : plan.at("steps").as_array()) {
    const auto step = step_from_json(planned.at("step"));
    REQUIRE_MESSAGE(step.has_value(), (step ? "" : step.error()));
    steps.push_back(*step);
  }
  return steps;
}

// In today's order, and none left out but those that came later.
template <class Kind>
bool each_is_of(const std::vector<Kind>& written, const std::vector<Kind>& today) {
  constexpr std::size_t kinds_of_version_1 = 15;
  auto at = today.begin();
  for (const Kind& one : written) {
    at = std::find(at, today.end(), one);
    if (at == today.end()) return false;
    ++at;
  }
  return written.size() >= kinds_of_version_1;
}

}  // namespace

TEST_CASE("records: another form is another version (VMRUN_UPDATE_RECORDS=1 writes a new one's)") {
  const fs::path expected = all_records / std::to_string(record_version) / "every";
  const fakes::TempDir base;
  const VmDir dir = VmDir::claim(base.path(), "db").value();
  write_every_kind(dir);
  for (const char* name : {"journal", "plan.json"}) {
    INFO(std::string(name));
    if (std::getenv("VMRUN_UPDATE_RECORDS") != nullptr)
      fakes::write_file(expected / name, fakes::read_file(dir.path() / name));
    CHECK(fakes::read_file(dir.path() / name) == fakes::read_file(expected / name));
  }
}

TEST_CASE("records: every released format is read") {
  std::size_t read = 0;
  for (const auto& version : fs::directory_iterator(all_records)) {
    for (const auto& record : fs::directory_iterator(version.path())) {
      INFO(record.path().string());
      const Place place;
      const VmDir dir = place.of(record.path());
      CHECK(dir.owner());
      CHECK(dir.unreadable() == std::vector<std::string>{});
      CHECK(!dir.reservation().cpus.empty());
      CHECK(dir.read_state().qemu);
      CHECK(dir.journal().read().owed.size() >= 3);
      CHECK(!steps_in(dir).empty());
      ++read;
    }
  }
  CHECK(read >= 3);
}

TEST_CASE("records: every kind of step and undo that a version wrote is what it is today") {
  for (int version = 1; version <= record_version; ++version) {
    INFO("version ", version);
    const Place place;
    const VmDir dir = place.of(all_records / std::to_string(version) / "every");
    CHECK(each_is_of(steps_in(dir), kinds::one_of_each()));
    const std::vector<Owed> owed = dir.journal().read().owed;
    std::vector<Undo> undos;
    for (const Owed& one : owed) {
      undos.push_back(one.undo);
      CHECK(one.done == (one.number + 1 < owed.size()));
    }
    CHECK(each_is_of(undos, kinds::one_undo_of_each()));
    CHECK(owed.front().begun == 11u);
  }
}
