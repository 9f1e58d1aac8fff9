# spankey_test(<name> SOURCES ... LINK ... [TORCH] [RANKS 1 2 ...] [LABELS ...] [TIMEOUT s])
# One executable and one ctest entry (with RANKS: one entry per rank count, under mpiexec).
# tests/support/main.cpp fails a run in which no test was executed, and brings the failures of every rank to rank 0.
find_package(GTest REQUIRED)
include(SpankeyHeaderTest)

add_library(spankey_test_main STATIC ${CMAKE_SOURCE_DIR}/tests/support/main.cpp)
target_link_libraries(spankey_test_main PUBLIC GTest::gtest GTest::gmock mpi_c fmt::fmt PRIVATE spankey_options)
target_include_directories(spankey_test_main PUBLIC ${CMAKE_SOURCE_DIR}/tests)

function(spankey_test name)
  cmake_parse_arguments(arg "TORCH" "TIMEOUT" "SOURCES;LINK;RANKS;LABELS" ${ARGN})
  string(REPLACE "." "_" target test_${name})
  add_executable(${target} ${arg_SOURCES})
  target_link_libraries(${target} PRIVATE ${arg_LINK} spankey_test_main spankey_options)
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  if(arg_TORCH)
    spankey_use_torch(${target})
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  set(environment "SPANKEY_SOURCE_DIR=${CMAKE_SOURCE_DIR}" "SPANKEY_PROGRAM=${CMAKE_BINARY_DIR}/bin/spankey"
      "OMPI_ALLOW_RUN_AS_ROOT=1" "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1" "OMPI_MCA_mpi_yield_when_idle=1"
      "OMPI_MCA_rmaps_base_oversubscribe=1" "OMPI_MCA_btl=self,vader")
  if(NOT arg_RANKS)
    add_test(NAME ${name} COMMAND ${target})
    set_tests_properties(${name} PROPERTIES TIMEOUT ${arg_TIMEOUT} SKIP_RETURN_CODE 77 ENVIRONMENT "${environment}" LABELS "${arg_LABELS}")
  endif()
  foreach(ranks IN LISTS arg_RANKS)
    add_test(NAME ${name}.ranks${ranks} COMMAND ${MPIEXEC_EXECUTABLE} -n ${ranks} --oversubscribe $<TARGET_FILE:${target}>)
    set_tests_properties(${name}.ranks${ranks} PROPERTIES TIMEOUT ${arg_TIMEOUT} PROCESSORS 2 SKIP_RETURN_CODE 77
      ENVIRONMENT "${environment};SPANKEY_TEST_MPI=1" LABELS "${arg_LABELS}")
  endforeach()
endfunction()
