# libspankey_cuda.so: everything that needs CUDA, one module that the program opens when a GPU is asked for.
#
# It links the wheel's CUDA libraries and none of ours: what it uses of the program it takes from the program. The light
# install lacks most of what libtorch_cuda.so itself needs, so that the linker is told not to look into it; the module
# compiles and links wherever nvcc is found.
set(SPANKEY_CUDA AUTO CACHE STRING "Build the CUDA module: AUTO (where nvcc is found), ON or OFF")
set_property(CACHE SPANKEY_CUDA PROPERTY STRINGS AUTO ON OFF)

set(cuda_missing)
if(SPANKEY_CUDA)
  find_program(SPANKEY_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATH_SUFFIXES bin PATHS /usr/local/cuda/bin)
  if(SPANKEY_NVCC)
    get_filename_component(nvcc_file "${SPANKEY_NVCC}" REALPATH)
    get_filename_component(cuda_root "${nvcc_file}/../.." ABSOLUTE)
    file(GLOB wheel_nccl "${LibTorch_ROOT}/../nvidia/nccl")
    find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${wheel_nccl}/include ${cuda_root}/include)
    find_library(NCCL_LIBRARY NAMES nccl libnccl.so.2 HINTS ${wheel_nccl}/lib ${cuda_root}/lib64)
    if(NOT NCCL_INCLUDE_DIR OR NOT NCCL_LIBRARY)
      set(cuda_missing "NCCL (nccl.h and libnccl)")
    elseif(NOT EXISTS "${LibTorch_ROOT}/lib/libtorch_cuda.so")
      set(cuda_missing "${LibTorch_ROOT}/lib/libtorch_cuda.so")
    endif()
    # Two runtimes of CUDA in one process do not share their memory. A LibTorch that is no wheel says nothing of its own.
    execute_process(COMMAND ${SPANKEY_NVCC} --version OUTPUT_VARIABLE nvcc_text ERROR_QUIET)
    set(torch_text)
    if(EXISTS ${LibTorch_ROOT}/version.py)
      file(STRINGS ${LibTorch_ROOT}/version.py torch_text REGEX "^cuda")
    endif()
    if(nvcc_text MATCHES "release ([0-9]+)")
      set(nvcc_major ${CMAKE_MATCH_1})
      if(torch_text MATCHES "'([0-9]+)[.]" AND NOT CMAKE_MATCH_1 EQUAL nvcc_major)
        set(cuda_missing "an nvcc of CUDA ${CMAKE_MATCH_1}, which LibTorch is built with (${SPANKEY_NVCC} is of CUDA ${nvcc_major})")
      endif()
    endif()
  else()
    set(cuda_missing nvcc)
  endif()
  if(cuda_missing AND NOT SPANKEY_CUDA STREQUAL "AUTO")
    spankey_refuse("SPANKEY_CUDA=${SPANKEY_CUDA}: not found: ${cuda_missing}; accepted: -DSPANKEY_NVCC=PROGRAM, another "
      "module load cuda, or SPANKEY_CUDA=OFF")
  endif()
endif()
if(SPANKEY_CUDA AND NOT cuda_missing)
  set(SPANKEY_HAS_CUDA ON)
else()
  set(SPANKEY_HAS_CUDA OFF)
  set(cuda_because)
  if(cuda_missing)
    set(cuda_because ", not found: ${cuda_missing}")
  endif()
  set(SPANKEY_CUDA_VERSIONS "not available: built without it")
  message(STATUS "CUDA module: not built (SPANKEY_CUDA=${SPANKEY_CUDA}${cuda_because})")
endif()

if(SPANKEY_HAS_CUDA)
  set(CMAKE_CUDA_COMPILER ${SPANKEY_NVCC})
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
    # A100, H100 and H200, B200, as far as this nvcc knows them.
    execute_process(COMMAND ${SPANKEY_NVCC} --list-gpu-arch OUTPUT_VARIABLE known_architectures ERROR_QUIET)
    set(architectures)
    foreach(architecture 80 90 100)
      if(known_architectures MATCHES "compute_${architecture}\n")
        list(APPEND architectures ${architecture})
      endif()
    endforeach()
    set(CMAKE_CUDA_ARCHITECTURES "${architectures}" CACHE STRING "GPU architectures of the CUDA module")
  endif()
  enable_language(CUDA)
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_EXTENSIONS OFF)
  if(CCACHE_PROGRAM AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  endif()
  file(STRINGS ${NCCL_INCLUDE_DIR}/nccl.h nccl_version REGEX "define NCCL_(MAJOR|MINOR|PATCH) ")
  string(REGEX REPLACE "[^0-9]+([0-9]+)[^0-9]+([0-9]+)[^0-9]+([0-9]+).*" "\\1.\\2.\\3" nccl_version "${nccl_version}")
  string(REGEX MATCH "[0-9]+[.][0-9]+" cuda_version "${CMAKE_CUDA_COMPILER_VERSION}")
  set(SPANKEY_CUDA_VERSIONS "${cuda_version}, NCCL ${nccl_version}")
  message(STATUS "CUDA module: ${SPANKEY_NVCC}, architectures ${CMAKE_CUDA_ARCHITECTURES}, NCCL ${NCCL_LIBRARY}")

  add_library(spankey_cuda MODULE)
  set_target_properties(spankey_cuda PROPERTIES
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_RUNTIME_OUTPUT_DIRECTORY} CUDA_RUNTIME_LIBRARY Shared UNITY_BUILD_MODE GROUP)
  target_include_directories(spankey_cuda PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_BINARY_DIR}/generated)
  target_include_directories(spankey_cuda SYSTEM BEFORE PRIVATE
    ${CMAKE_BINARY_DIR}/include-first ${LibTorch_ROOT}/include ${LibTorch_ROOT}/include/torch/csrc/api/include)
  target_include_directories(spankey_cuda SYSTEM PRIVATE ${NCCL_INCLUDE_DIR} ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES}
    ${RANDOM123_INCLUDE_DIR})
  target_compile_definitions(spankey_cuda PRIVATE SPANKEY_VERSION="${PROJECT_VERSION}")
  list(JOIN CMAKE_CUDA_ARCHITECTURES "," architectures)
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/dist/cuda_module_cuda.cpp TARGET_DIRECTORY spankey_cuda PROPERTIES
    COMPILE_DEFINITIONS "SPANKEY_CUDA_ARCHITECTURES=\"${architectures}\"")
  # -Wpedantic is impossible: the line markers that nvcc puts into its output are no ISO C++.
  target_compile_options(spankey_cuda PRIVATE
    $<$<COMPILE_LANGUAGE:CUDA>:$<$<BOOL:${SPANKEY_WERROR}>:-Werror=all-warnings>
    -Xcompiler=-Wall,-Wextra,-Wshadow,$<$<BOOL:${SPANKEY_WERROR}>:-Werror$<COMMA>>-ffp-contract=off>)
  target_link_libraries(spankey_cuda PRIVATE spankey_options ${LibTorch_ROOT}/lib/libtorch_cuda.so
    ${LibTorch_ROOT}/lib/libc10_cuda.so ${LibTorch_ROOT}/lib/libtorch_cpu.so ${LibTorch_ROOT}/lib/libc10.so
    ${NCCL_LIBRARY})
  target_link_options(spankey_cuda PRIVATE -Wl,--unresolved-symbols=ignore-all)
  file(GLOB wheel_folders ${LibTorch_ROOT}/../nvidia/*/lib)
  set_target_properties(spankey_cuda PROPERTIES BUILD_RPATH "$ORIGIN;${wheel_folders}"
    INSTALL_RPATH "$ORIGIN;${LibTorch_ROOT}/lib;${wheel_folders}")
  add_dependencies(spankey_cuda spankey_revision)
  install(TARGETS spankey_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()

# spankey_opens_cuda_module(TARGET): another program than `spankey` that opens the module, which takes what it needs from
# the program that opens it: the two libraries that it uses are linked whole and exported. It is looked for beside the
# program. LINK_LIBRARY_OVERRIDE: elsewhere in the program's libraries the two are named plainly.
function(spankey_opens_cuda_module target)
  target_link_libraries(${target} PRIVATE
    $<LINK_LIBRARY:WHOLE_ARCHIVE,spankey_dist> $<LINK_LIBRARY:WHOLE_ARCHIVE,spankey_base>)
  set_target_properties(${target} PROPERTIES ENABLE_EXPORTS ON
    LINK_LIBRARY_OVERRIDE "WHOLE_ARCHIVE,spankey_dist,spankey_base")
  if(NOT SPANKEY_HAS_CUDA)
    return()
  endif()
  add_dependencies(${target} spankey_cuda)
  get_target_property(folder ${target} RUNTIME_OUTPUT_DIRECTORY)
  if(NOT folder STREQUAL CMAKE_RUNTIME_OUTPUT_DIRECTORY)
    add_custom_command(TARGET ${target} POST_BUILD
      COMMAND ${CMAKE_COMMAND} -E create_symlink $<TARGET_FILE:spankey_cuda>
              $<TARGET_FILE_DIR:${target}>/$<TARGET_FILE_NAME:spankey_cuda>)
  endif()
endfunction()

# spankey_cuda_sources([EXACT] FILE...): files of this folder that are compiled into the module, where it is built.
# EXACT: no fused multiply-adds, for kernels whose bits are those of the CPU.
function(spankey_cuda_sources)
  if(NOT SPANKEY_HAS_CUDA)
    return()
  endif()
  cmake_parse_arguments(PARSE_ARGV 0 arg "EXACT" "" "")
  foreach(source IN LISTS arg_UNPARSED_ARGUMENTS)
    set(file ${CMAKE_CURRENT_SOURCE_DIR}/${source})
    target_sources(spankey_cuda PRIVATE ${file})
    if(NOT file MATCHES "[.]cu$")  # LibTorch's headers cost seconds each time that they are read
      set_source_files_properties(${file} TARGET_DIRECTORY spankey_cuda PROPERTIES UNITY_GROUP host)
    endif()
    if(arg_EXACT)
      set_source_files_properties(${file} TARGET_DIRECTORY spankey_cuda PROPERTIES COMPILE_OPTIONS -fmad=false)
    endif()
  endforeach()
endfunction()

