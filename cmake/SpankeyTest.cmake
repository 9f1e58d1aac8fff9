# spankey_test_program(<layer> LINK ... [TORCH])
#   test_<layer>: one program for the tests of a folder. A program for each would read the heavy headers once a test.
# spankey_tests(<layer> <thing>... [PREFIX name] [RANKS 1 2 ...] [LABELS ...] [TIMEOUT s] [LONG])
#   Adds <thing>_test.cpp to it, and an entry <prefix>.<thing> to ctest that runs the tests of that file alone (with RANKS:
#   one entry per rank count, under mpiexec). The prefix is the layer. A thing may lie in a folder below (keys/basis). LONG:
#   left to launch/test --long.
# tests/support/main.cpp fails a run in which no test was executed, and brings the failures of every rank to rank 0.
find_package(GTest REQUIRED)
include(SpankeyHeaderTest)

add_library(spankey_test_support STATIC)
foreach(source main program terminal)
  target_sources(spankey_test_support PRIVATE ${CMAKE_SOURCE_DIR}/tests/support/${source}.cpp)
endforeach()
target_link_libraries(spankey_test_support PUBLIC GTest::gtest GTest::gmock mpi_c fmt::fmt PRIVATE spankey_options)
target_include_directories(spankey_test_support PUBLIC ${CMAKE_SOURCE_DIR}/tests)
set_target_properties(spankey_test_support PROPERTIES UNITY_BUILD OFF)  # most programs need main.cpp alone

# Tests are compiled more often than they run.
add_library(spankey_test_options INTERFACE)
target_link_libraries(spankey_test_options INTERFACE spankey_cold_options spankey_test_support)

set(spankey_test_headers <gmock/gmock.h> <gtest/gtest.h> <nlohmann/json.hpp>)
spankey_precompiled(spankey_precompiled_tests LINK spankey_test_options nlohmann_json::nlohmann_json
  HEADERS ${spankey_test_headers})
spankey_precompiled(spankey_precompiled_tests_torch LINK spankey_test_options nlohmann_json::nlohmann_json libtorch
  HEADERS ${spankey_test_headers} ${spankey_torch_headers})

function(spankey_test_program layer)
  cmake_parse_arguments(PARSE_ARGV 1 arg "TORCH" "" "LINK")
  set(target test_${layer})
  add_executable(${target})
  target_link_libraries(${target} PRIVATE ${arg_LINK} spankey_test_options)
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  if(arg_TORCH)
    target_link_libraries(${target} PRIVATE libtorch)
    spankey_use_precompiled(${target} spankey_precompiled_tests_torch)
  else()
    spankey_use_precompiled(${target} spankey_precompiled_tests)
  endif()
endfunction()

function(spankey_tests layer)
  cmake_parse_arguments(PARSE_ARGV 1 arg "LONG" "PREFIX;TIMEOUT" "RANKS;LABELS")
  if(NOT arg_PREFIX)
    set(arg_PREFIX ${layer})
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  # One compute thread: two on cores that are busy with another test wait for each other many times longer.
  set(environment "OMP_NUM_THREADS=1" "SPANKEY_SOURCE_DIR=${CMAKE_SOURCE_DIR}" "SPANKEY_PROGRAM=${CMAKE_BINARY_DIR}/bin/spankey"
      "OMPI_ALLOW_RUN_AS_ROOT=1" "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1" "OMPI_MCA_mpi_yield_when_idle=1"
      "OMPI_MCA_rmaps_base_oversubscribe=1" "PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe" "OMPI_MCA_btl=self,vader")
  set(only)
  if(arg_LONG)
    set(only CONFIGURATIONS Long)
    list(APPEND arg_LABELS long)
  endif()
  foreach(thing IN LISTS arg_UNPARSED_ARGUMENTS)
    target_sources(test_${layer} PRIVATE ${thing}_test.cpp)
    cmake_path(GET thing FILENAME thing)
    set(name ${arg_PREFIX}.${thing})
    if(NOT arg_RANKS)
      add_test(NAME ${name} ${only} COMMAND test_${layer} ${thing}_test)
      set_tests_properties(${name} PROPERTIES TIMEOUT ${arg_TIMEOUT} SKIP_RETURN_CODE 77 ENVIRONMENT "${environment}"
        LABELS "${arg_LABELS}")
    endif()
    foreach(ranks IN LISTS arg_RANKS)
      add_test(NAME ${name}.ranks${ranks} ${only}
               COMMAND ${MPIEXEC_EXECUTABLE} -n ${ranks} $<TARGET_FILE:test_${layer}> ${thing}_test)
      set_tests_properties(${name}.ranks${ranks} PROPERTIES TIMEOUT ${arg_TIMEOUT} PROCESSORS 2 SKIP_RETURN_CODE 77
        ENVIRONMENT "${environment};SPANKEY_TEST_MPI=1" LABELS "${arg_LABELS}")
    endforeach()
  endforeach()
endfunction()
