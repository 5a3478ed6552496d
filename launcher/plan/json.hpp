// How a plan is described for JSON. Its steps are written by step.cpp.
#pragma once

#include "launcher/plan/plan.hpp"
#include "launcher/steps/step.hpp"
#include "topology/placement_json.hpp"

namespace launcher::inline plan {

BOOST_DESCRIBE_STRUCT(Arg, (), (option, value, why, origin))
BOOST_DESCRIBE_STRUCT(PassedFunction, (), (address, cpus))
BOOST_DESCRIBE_STRUCT(IothreadPin, (), (id, cpus))
BOOST_DESCRIBE_STRUCT(CpuFeature, (), (name, on))
BOOST_DESCRIBE_STRUCT(LaunchPlan, (),
                      (name, uuid, accel, qemu, qemu_version, uid, placement, reservation, iothreads, pinned, features,
                       vcpu_fifo, iothread_fifo, core_cookie, partition, groups, vhost_workers, run_dir, spare,
                       console_socket, console_on_stdio, functions, guest, args, notes))

boost::json::value plan_json(const LaunchPlan& plan);

}  // namespace launcher::plan
