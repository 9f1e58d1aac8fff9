# spankey_library(<layer> SOURCES ... LINK ... [TORCH])
# One static library per folder of src/. TORCH: uses LibTorch and the shared precompiled header.
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/precompiled.cpp CONTENT "")
add_library(spankey_precompiled OBJECT ${CMAKE_BINARY_DIR}/precompiled.cpp)
target_link_libraries(spankey_precompiled PUBLIC spankey_options libtorch fmt::fmt)
set(spankey_torch_headers <ATen/ATen.h> <torch/nn/module.h> <torch/utils.h>)
set(spankey_standard_headers <algorithm> <array> <chrono> <cstdint> <filesystem> <functional> <map> <memory> <optional> <span> <string>
  <string_view> <utility> <vector>)
target_precompile_headers(spankey_precompiled PRIVATE ${spankey_torch_headers} ${spankey_standard_headers})

function(spankey_use_precompiled target from)
  target_precompile_headers(${target} REUSE_FROM ${from})
  # GCC takes a precompiled header only under the flags it was made with: -fPIC for executables too, not -fPIE.
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "EXECUTABLE")
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${target} PRIVATE -fPIC)
  endif()
endfunction()

function(spankey_use_torch target)
  target_link_libraries(${target} PUBLIC libtorch)
  spankey_use_precompiled(${target} spankey_precompiled)
endfunction()

function(spankey_library layer)
  cmake_parse_arguments(arg "TORCH" "" "SOURCES;LINK" ${ARGN})
  add_library(spankey_${layer} STATIC ${arg_SOURCES})
  target_include_directories(spankey_${layer} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(spankey_${layer} PUBLIC ${arg_LINK} fmt::fmt PRIVATE spankey_options)
  if(arg_TORCH)
    spankey_use_torch(spankey_${layer})
  endif()
endfunction()
